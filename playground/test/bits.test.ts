/** The random bits are those of the library: vectors that Python wrote, and Random123's known answers. */

import { describe, expect, it } from "vitest";
import { siteNumber } from "../src/bits/address";
import { gaussianFactor, normal, uniform } from "../src/bits/continuous";
import { philox } from "../src/bits/philox";
import { countOf, mask, scaleOf, unitBits, unitWords } from "../src/bits/units";
import vectors from "./vectors.json";

describe.each(vectors)("the address of $name", ({ address, name, rate, ...expected }) => {
  const count = expected.bits.length;

  it("has the number of its site", () => expect(siteNumber(name)).toBe(address.site));
  it("has the 16 bits of each unit", () => expect([...unitBits(address, count)]).toEqual(expected.bits));
  it("has the mask", () => expect([...mask(address, count, rate)]).toEqual(expected.mask));
  it("has the words of continuous noise", () => expect([...unitWords(address, count)]).toEqual(expected.words));
  it("has normal numbers, to the last bit", () => expect(expected.words.map(normal)).toEqual(expected.normal));
  it("has uniform numbers, to the last bit", () => expect(expected.words.map(uniform)).toEqual(expected.uniform));
  it("has Gaussian factors, to the last bit", () =>
    expect(expected.words.map((word) => gaussianFactor(word, rate))).toEqual(expected.gaussian));
});

it("agrees with Random123 on a counter and a key of ones", () => {
  const ones = 0xffffffff;
  const words = philox([ones, ones, ones, ones], [ones, ones]);
  expect(words.map((word) => word.toString(16).padStart(8, "0"))).toEqual(KNOWN);
});

const KNOWN = ["5207ddc2", "45165e59", "4d8ee751", "8c52f662"];

it("counts rates in 65536ths, ties to even, and never a rate below 1 as 1", () => {
  expect([0, 0.3, 0.5, 1 - 1e-6, 1, 0.5 / 65536, 1.5 / 65536].map(countOf)).toEqual([0, 19661, 32768, 65535, 65536, 0, 2]);
});

it("scales by the delivered rate, in float32", () => {
  expect([scaleOf(0), scaleOf(0.5), scaleOf(1), scaleOf(0.3)]).toEqual([1, 2, 0, Math.fround(65536 / (65536 - 19661))]);
});
