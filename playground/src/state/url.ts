/** The state as the hash of the URL. Fields with their first value are left out, so that a link is short. */

import type { Field } from "./fields";
import { FIELDS, type State } from "./state";

const ENTRIES = Object.entries(FIELDS) as [keyof State, Field<unknown>][];

/** Returns the state of a hash. A field that is missing or not valid has its first value. */
export function read(hash: string): State {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const found = ENTRIES.map(([key, field]) => {
    const text = given.get(key);
    return [key, (text === null ? undefined : field.parse(text)) ?? field.initial];
  });
  return Object.fromEntries(found) as unknown as State;
}

export function write(state: State): string {
  const told = new URLSearchParams();
  for (const [key, field] of ENTRIES) {
    const text = field.format(state[key]);
    if (text !== field.format(field.initial)) told.set(key, text);
  }
  return told.toString().replaceAll("%2C", ",");
}
