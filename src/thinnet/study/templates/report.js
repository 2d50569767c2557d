"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);

// A colour in a figure that starts with -- is a property of the style sheet, read anew when the scheme changes.
function coloured(value, style) {
  if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
  if (Array.isArray(value)) return value.map((item) => coloured(item, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
}

function axis(own) {
  return { automargin: true, gridcolor: "--rule", zeroline: false, ticks: "", fixedrange: true, ...own };
}

function draw(element) {
  const figure = figures[element.dataset.figure];
  const style = getComputedStyle(document.documentElement);
  const layout = {
    ...figure.layout,
    xaxis: axis(figure.layout.xaxis),
    yaxis: axis(figure.layout.yaxis),
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: "--soft" },
    hoverlabel: { bgcolor: "--paper", bordercolor: "--rule", font: { color: "--ink" } },
    margin: { l: 8, r: 8, t: 8, b: 8 },
    showlegend: false,
  };
  Plotly.react(element, coloured(figure.data, style), coloured(layout, style), { displayModeBar: false, responsive: true });
}

const plots = [...document.querySelectorAll(".plot")];
plots.forEach(draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach(draw));

const buttons = [...document.querySelectorAll("[data-show]")];
for (const button of buttons) {
  button.addEventListener("click", () => {
    buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    for (const plot of document.querySelectorAll("[data-curve]")) {
      plot.dataset.figure = `curve-${button.dataset.show}-${plot.dataset.curve}`;
      draw(plot);
    }
  });
}
