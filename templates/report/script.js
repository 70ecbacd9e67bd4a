"use strict";
// Without it the page shows all the same: images in a row that scrolls, outputs in full.
for (const element of document.querySelectorAll(".js-only")) element.hidden = false;
for (const element of document.querySelectorAll(".no-js")) element.hidden = true;

for (const sample of document.querySelectorAll(".sample")) {
  const viewer = sample.querySelector(".viewer");
  const items = [...sample.querySelectorAll(".list > li")];
  const marks = [...sample.querySelectorAll(".mark")];
  const drawn = new Set(items.map((item) => item.dataset.output));
  const all = sample.querySelector("[data-all]");

  const redraw = () => {
    for (const mark of marks) mark.toggleAttribute("hidden", !drawn.has(mark.dataset.output));
  };
  for (const item of items) {
    const box = item.querySelector("[data-draw]");
    if (!box) continue;
    box.addEventListener("change", () => {
      drawn[box.checked ? "add" : "delete"](item.dataset.output);
      redraw();
    });
    const strong = (on) => () => {
      for (const mark of marks) if (mark.dataset.output === item.dataset.output) mark.classList.toggle("strong", on);
    };
    item.addEventListener("pointerenter", strong(true));
    item.addEventListener("pointerleave", strong(false));
  }
  if (all) {
    all.addEventListener("change", () => {
      for (const item of items) {
        const box = item.querySelector("[data-draw]");
        if (box) box.checked = all.checked;
        drawn[all.checked ? "add" : "delete"](item.dataset.output);
      }
      redraw();
    });
  }

  const frames = viewer ? [...viewer.querySelectorAll(".frames > li")] : [];
  const slider = viewer && viewer.querySelector("input[type=range]");
  if (!slider) continue;
  const place = viewer.querySelector(".place");
  const list = viewer.querySelector(".frames");
  viewer.classList.add("live");
  list.removeAttribute("tabindex");

  const show = (wanted) => {
    const number = Math.min(Math.max(wanted, 0), frames.length - 1);
    frames.forEach((frame, index) => { frame.hidden = index !== number; });
    slider.value = String(number);
    const count = Number(frames[number].dataset.outputs);
    const words = count === 0 ? "no outputs" : count === 1 ? "1 output" : count + " outputs";
    slider.setAttribute("aria-valuetext", (number + 1) + " of " + frames.length + ", " + frames[number].dataset.label + ", " + words);
    place.textContent = (number + 1) + " / " + frames.length;
    for (const item of items) item.classList.toggle("here", item.dataset.frame === String(number));
    const here = items.find((item) => item.classList.contains("here"));
    // The list scrolls, never the page.
    if (here && (here.offsetTop < here.parentElement.scrollTop || here.offsetTop + here.offsetHeight > here.parentElement.scrollTop + here.parentElement.clientHeight)) {
      here.parentElement.scrollTop = here.offsetTop;
    }
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  for (const button of viewer.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => show(Number(slider.value) + Number(button.dataset.step)));
  }
  for (const button of sample.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => { show(Number(button.dataset.show)); slider.focus(); });
  }
  let turned = 0;
  list.addEventListener("wheel", (event) => {
    if (event.ctrlKey || !event.deltaY) return;
    const next = Number(slider.value) + Math.sign(event.deltaY);
    // At either end the page scrolls on.
    if (next < 0 || next >= frames.length) return;
    event.preventDefault();
    turned += event.deltaY;
    if (Math.abs(turned) >= 30) { show(next); turned = 0; }
  }, { passive: false });
  show(Number(viewer.dataset.first));
}

for (const field of document.querySelectorAll("[data-filter]")) {
  const rows = [...document.getElementById(field.dataset.filter).tBodies[0].rows];
  const status = field.closest("p").querySelector("[role=status]");
  field.addEventListener("input", () => {
    const words = field.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(words);
      if (!row.hidden) count += 1;
    }
    status.textContent = words ? count + " of " + rows.length : "";
  });
}
