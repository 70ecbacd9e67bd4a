import cv2
import numpy as np


def boxes(image, threshold):
    contours, _ = cv2.findContours((image > threshold).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in sorted(contours, key=cv2.contourArea, reverse=True)[:3]:
        x, y, width, height = cv2.boundingRect(contour)
        inside = image[y : y + height, x : x + width]
        yield 0, inside.mean(), {"x": x, "y": y, "width": width, "height": height}
