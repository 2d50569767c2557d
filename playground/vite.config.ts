/** Builds one HTML file into the Python package, with the hash of its sources in a meta tag. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { defineConfig, type Plugin } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";

const HERE = import.meta.dirname;
const NAMED = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"];

/** Returns the SHA-256 of the names and texts of the sources; docs/playground.py computes the same. */
function digest(): string {
  const inside = readdirSync(join(HERE, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(HERE, join(entry.parentPath, entry.name)).replaceAll("\\", "/"));
  const whole = createHash("sha256");
  for (const path of [...NAMED, ...inside].sort(byParts)) {
    whole.update(`${path}\n`).update(readFileSync(join(HERE, path)));
  }
  return whole.digest("hex");
}

/** Orders paths as Python's pathlib does: part by part. */
function byParts(a: string, b: string): number {
  const [left, right] = [a.split("/"), b.split("/")];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (left[i] !== right[i]) return left[i] < right[i] ? -1 : 1;
  }
  return left.length - right.length;
}

const sourceHash: Plugin = {
  name: "source-hash",
  transformIndexHtml: () => [{ tag: "meta", attrs: { name: "source", content: digest() }, injectTo: "head" }],
};

export default defineConfig({
  root: HERE,
  plugins: [sourceHash, viteSingleFile()],
  build: { outDir: "../src/thinnet/playground", emptyOutDir: false, target: "es2022" },
  worker: { format: "iife" }, // a module worker does not start in a page from file://
  test: { include: ["test/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
