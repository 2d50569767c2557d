/** The data sets, in the order of the menu. */

export const DATA_NAMES = ["circle", "moons", "xor", "spiral", "line", "toy", "digits"] as const;

export type DataName = (typeof DATA_NAMES)[number];
