/** The colours of the page, read from its style, and colour scales made of them. */

import { scaleLinear } from "d3-scale";

const NAMES = [
  ...(["paper", "ink", "soft", "rule", "panel"] as const),
  ...(["blue", "orange", "red", "teal", "violet", "orangeLight", "blueLight"] as const),
] as const;

export type Colour = (typeof NAMES)[number];
export type Palette = Record<Colour, string>;

/** Red, green, blue and alpha of 256 levels. */
export type Levels = Uint8ClampedArray;

let palette: Palette | undefined;
const levels = new Map<string, Levels>();

export function colours(): Palette {
  if (!palette) {
    const style = getComputedStyle(document.documentElement);
    palette = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${kebab(name)}`).trim()])) as Palette;
  }
  return palette;
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Forgets the colours, after the theme has changed. */
export function forgetColours(): void {
  palette = undefined;
  levels.clear();
}

/** Orange for low and blue for high predictions, with the paper in between. */
export const DIVERGING: readonly Colour[] = ["orange", "paper", "blue"];
/** The same, lighter, so that samples stand out. */
export const SURFACE: readonly Colour[] = ["orangeLight", "paper", "blueLight"];
/** From the paper to violet, for spread. */
export const RISING: readonly Colour[] = ["paper", "violet"];

export function levelsOf(names: readonly Colour[]): Levels {
  const key = names.join();
  const found = levels.get(key) ?? computed(names);
  levels.set(key, found);
  return found;
}

function computed(names: readonly Colour[]): Levels {
  const stops = names.map((_, i) => (255 * i) / (names.length - 1));
  const scale = scaleLinear<string>().domain(stops).range(names.map((name) => colours()[name]));
  const found = new Uint8ClampedArray(1024);
  for (let i = 0; i < 256; i++) found.set([...scale(i).match(/\d+/g)!.slice(0, 3).map(Number), 255], 4 * i);
  return found;
}

/** Returns a colour of a scale, for a number in 0 .. 1. */
export function levelColour(names: readonly Colour[], value: number): string {
  const at = 4 * Math.max(0, Math.min(255, Math.round(255 * value)));
  return `rgb(${levelsOf(names).slice(at, at + 3).join()})`;
}
