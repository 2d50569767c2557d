/** The training and validation curves of both networks, with the turning points. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Language } from "../state/state";
import { EVERY } from "../training/run";
import type { Snapshot, TwinView } from "../training/snapshot";
import { colours, type Colour } from "./palette";

const HEIGHT = 220;
const NARROW = 520;

interface Line {
  readonly of: (snapshot: Snapshot) => readonly number[];
  readonly colour: Colour;
  readonly dash?: number[];
  readonly width: number;
}

const LINES: readonly Line[] = [
  { of: ({ plain }) => plain.curves.train, colour: "red", dash: [5, 4], width: 1.25 },
  { of: ({ dropout }) => dropout.curves.train, colour: "teal", dash: [5, 4], width: 1.25 },
  { of: ({ plain }) => plain.curves.validation, colour: "red", width: 2.5 },
  { of: ({ dropout }) => dropout.curves.validation, colour: "teal", width: 2.5 },
  { of: ({ dropout }) => dropout.curves.noisy, colour: "violet", dash: [2, 3], width: 1.5 },
];
const LOGGED = LINES.length;

export class CurvePlot {
  readonly element = document.createElement("div");
  private plot: uPlot | undefined;
  private snapshot: Snapshot | undefined;
  private highest = 1;

  constructor(
    private readonly language: Language,
    private readonly xLabel: string,
    private readonly yLabel: string,
    label: string,
  ) {
    this.element.className = "curves";
    this.element.setAttribute("role", "img");
    this.element.setAttribute("aria-label", label);
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  show(snapshot: Snapshot, logged: boolean): void {
    this.snapshot = snapshot;
    const lines = LINES.map(({ of }) => of(snapshot));
    const shown = logged ? lines : lines.slice(0, -1);
    this.highest = Math.max(0.1, ...shown.flat().filter(Number.isFinite));
    const longest = Math.max(...lines.map((line) => line.length));
    const steps = Array.from({ length: longest }, (_, i) => i * EVERY);
    const data = [steps, ...lines.map((line) => steps.map((_, i) => (Number.isFinite(line[i]) ? line[i] : null)))];
    this.plot ??= new uPlot(this.options(), undefined, this.element);
    if (this.plot.series[LOGGED].show !== logged) this.plot.setSeries(LOGGED, { show: logged });
    this.plot.setData(data as uPlot.AlignedData);
  }

  private options(): uPlot.Options {
    const values = (_: uPlot, ticks: number[]) => ticks.map((tick) => tick.toLocaleString(this.language));
    const grid = { stroke: () => colours().rule, width: 1 };
    const axis = { values, grid, stroke: () => colours().soft, ticks: { show: false } };
    const font = "12px system-ui, sans-serif";
    return {
      width: this.element.clientWidth || NARROW,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: false, range: () => [0, this.snapshot?.config.steps ?? 1] },
        y: { range: () => [0, 1.05 * this.highest] },
      },
      axes: [
        { ...axis, font, labelFont: font, label: this.xLabel, labelSize: 18, size: 30 },
        { ...axis, font, labelFont: font, label: this.yLabel, labelSize: 18, size: 44 },
      ],
      series: [
        {},
        ...LINES.map(({ colour, dash, width }) => ({
          stroke: () => colours()[colour],
          width,
          points: { show: false },
          ...(dash && { dash }),
        })),
      ],
      hooks: { draw: [(plot) => this.drawTurns(plot)] },
    };
  }

  private drawTurns(plot: uPlot): void {
    if (!this.snapshot || this.snapshot.step === 0) return;
    this.drawTurn(plot, this.snapshot.plain, "red");
    this.drawTurn(plot, this.snapshot.dropout, "teal");
  }

  /** Marks the lowest validation loss so far with a ring. */
  private drawTurn(plot: uPlot, { best }: TwinView, colour: Colour): void {
    const x = plot.valToPos(best.step, "x", true);
    const y = plot.valToPos(best.loss, "y", true);
    const { ctx } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.arc(x, y, 6 * uPlot.pxRatio, 0, 2 * Math.PI);
    ctx.fillStyle = colours().paper;
    ctx.strokeStyle = colours()[colour];
    ctx.lineWidth = 2.5 * uPlot.pxRatio;
    ctx.fill();
    ctx.stroke();
    ctx.restore();
  }

  private resize(): void {
    const width = this.element.clientWidth;
    if (this.plot && width > 0 && this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
  }
}
