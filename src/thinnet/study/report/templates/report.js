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
