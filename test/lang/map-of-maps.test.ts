import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { mapDef } from "../../src/asm/index.ts";
import { u32, u64 } from "../../src/btf/layout/index.ts";
import { XDP_PASS, xdp } from "../../src/lang/index.ts";
import { refusal } from "./refusal.ts";

const refused = (body: () => unknown): string => refusal(fileURLToPath(import.meta.url), body);
const inner = mapDef({ name: "inner", type: "array", key: u32, value: u64, maxEntries: 1 });
const outer = mapDef({ name: "outer", type: "array_of_maps", key: u32, value: u32, maxEntries: 2, inner });

test("a map that was found is used outside of the branch that it exists in", () => {
  const build = () =>
    xdp("outside", ($) => {
      let kept = inner;
      $.lookup(outer, 0, (found) => {
        kept = found;
      });
      $.lookup(kept, 0, { else: () => $.return(XDP_PASS) });
      return $.return(XDP_PASS);
    });
  expect(refused(build)).toBe(
    "the map 'inner' that a lookup found is used outside of the branch that it exists in",
  );
});

test("a map that was found is no global data", () => {
  const build = () =>
    xdp("global", ($) => {
      const found = $.lookup(outer, 0, { else: () => $.return(XDP_PASS) });
      return $.return($.global(found).to(u32));
    });
  expect(refused(build)).toBe("map 'inner' is one that a lookup found");
});

test("programs do not write entries of a map of maps", () => {
  xdp("write", ($) => {
    // @ts-expect-error programs cannot write entries of a map of type array_of_maps
    $.update(outer, 0, 5);
    return $.return(XDP_PASS);
  });
});
