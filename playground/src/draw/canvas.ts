/** A canvas that is sharp on every screen, and draws again when its size changes. */

import { h } from "../ui/element";

export type Draw = (context: CanvasRenderingContext2D, width: number, height: number) => void;

export class Canvas {
  readonly element: HTMLCanvasElement;
  private draw: Draw | undefined;
  private label = "";

  /** `ratio`: height over width; or give the height in pixels. */
  constructor(private readonly size: { ratio: number } | { height: number }) {
    this.element = h("canvas", { role: "img" });
    if ("ratio" in size) this.element.style.aspectRatio = String(1 / size.ratio);
    else this.element.style.height = `${size.height}px`;
    new ResizeObserver(() => this.redraw()).observe(this.element);
  }

  /** Draws, and describes the picture for those who cannot see it. */
  show(label: string, draw: Draw): void {
    if (label !== this.label) this.element.setAttribute("aria-label", label);
    this.label = label;
    this.draw = draw;
    this.redraw();
  }

  setHeight(height: number): void {
    if ("height" in this.size) this.element.style.height = `${height}px`;
  }

  private redraw(): void {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!this.draw || width === 0 || height === 0) return;
    const dense = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * dense), Math.round(height * dense)];
    if (this.element.width !== wide || this.element.height !== high) {
      this.element.width = wide;
      this.element.height = high;
    }
    const context = this.element.getContext("2d")!;
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, width, height);
    this.draw(context, width, height);
  }
}
