"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const look = JSON.parse(document.getElementById("look").textContent);

// A colour that starts with -- is a property of the style sheet; it is read again when the scheme changes.
function coloured(value, style) {
  if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
  if (Array.isArray(value)) return value.map((item) => coloured(item, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
}

function draw(element) {
  const figure = figures[element.dataset.figure];
  const style = getComputedStyle(document.documentElement);
  const layout = coloured({ ...figure.layout, template: look }, style);
  Plotly.react(element, coloured(figure.data, style), layout, { displayModeBar: false, responsive: true });
}

const plots = [...document.querySelectorAll(".plot")];
plots.forEach(draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach(draw));
