/** Every field of the state: its first value, how the URL writes it, and the limits that its control has. */

export interface Field<T> {
  readonly initial: T;
  /** Returns the value of a text of the URL; undefined if it is not valid. */
  parse(text: string): T | undefined;
  format(value: T): string;
}

export interface NumberField extends Field<number> {
  readonly values: readonly number[];
}

export interface ChoiceField<T extends string> extends Field<T> {
  readonly values: readonly T[];
}

/** A number that is one of some values, in rising order. */
export function numberOf(initial: number, values: readonly number[]): NumberField {
  const parse = (text: string) => values.find((value) => value === Number(text));
  return { initial, values, parse, format: String };
}

export function choiceOf<T extends string>(initial: T, values: readonly T[]): ChoiceField<T> {
  return { initial, values, parse: (text) => values.find((value) => value === text), format: String };
}

export function flag(initial: boolean): Field<boolean> {
  return {
    initial,
    parse: (text) => (text === "1" ? true : text === "0" ? false : undefined),
    format: (value) => (value ? "1" : "0"),
  };
}

/** Several numbers, separated by commas. */
export function listOf(initial: readonly number[], values: readonly number[]): Field<readonly number[]> {
  return {
    initial,
    parse(text) {
      const found = text.split(",").map(Number);
      return found.length === initial.length && found.every((value) => values.includes(value)) ? found : undefined;
    },
    format: (value) => value.join(","),
  };
}

/** Returns first, first + step, ..., last. */
export function range(first: number, last: number, step = 1): number[] {
  const count = Math.round((last - first) / step) + 1;
  return Array.from({ length: count }, (_, i) => Number((first + i * step).toFixed(6)));
}
