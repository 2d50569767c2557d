/** The link holds the whole state, and nothing that is not valid. */

import { describe, expect, it } from "vitest";
import { FIELDS, type State } from "../src/state/state";
import { read, write } from "../src/state/url";

const CHANGED: State = {
  ...read(""),
  screen: "average",
  language: "de",
  data: "digits",
  rates: [0, 0.5, 0.25, 0.9],
  noise: 0.3,
  l2: 0.0003,
  forgotten: true,
};

describe("the link", () => {
  it("is empty for the first state", () => expect(write(read(""))).toBe(""));
  it("gives back every field", () => expect(read(`#${write(CHANGED)}`)).toEqual(CHANGED));
  it("names only what differs", () => expect(write({ ...read(""), seed: 7 })).toBe("seed=7"));
});

it.each(["seed=1e9", "seed=x", "rates=0.5", "rates=0.5,0.5,0.5,2", "data=cats", "forgotten=yes", "width=33", "cats=1"])(
  "leaves out %s",
  (hash) => expect(read(hash)).toEqual(read("")),
);

it("starts every field with a value that its control has", () => {
  for (const field of Object.values(FIELDS)) {
    if ("values" in field) expect(field.values).toContain(field.initial);
  }
});
