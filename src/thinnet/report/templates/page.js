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

// Plotly takes the rows of a legend from the plot; here each row beyond the second makes the figure taller.
function fit(element, figure) {
  if (figure.layout.showlegend === false || figure.layout.legend?.orientation === "v") return;
  const named = figure.data.filter((trace) => trace.name && trace.showlegend !== false);
  element.dataset.height ??= element.offsetHeight;
  const longest = Math.max(0, ...named.map((trace) => trace.name.length));
  const columns = Math.max(1, Math.floor(element.offsetWidth / (44 + 6.4 * longest)));
  const rows = Math.ceil(named.length / columns);
  element.style.height = `${Number(element.dataset.height) + 19 * Math.max(0, rows - 2)}px`;
}

function draw(element) {
  const figure = figures[element.dataset.figure];
  fit(element, figure);
  const style = getComputedStyle(document.documentElement);
  const layout = coloured({ ...figure.layout, template: look }, style);
  Plotly.react(element, coloured(figure.data, style), layout, { displayModeBar: false, responsive: true });
}

// Tables and code that are wider than the window say so.
function hint() {
  for (const box of document.querySelectorAll(".scroll")) {
    box.classList.toggle("overflows", box.scrollWidth > box.clientWidth + 1);
  }
}

const plots = [...document.querySelectorAll(".plot")];
plots.forEach(draw);
hint();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach(draw));
addEventListener("resize", () => {
  plots.forEach(draw);
  hint();
});
