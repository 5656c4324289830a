import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  assemble,
  call,
  exit,
  formatListing,
  jeq,
  lddw,
  listing,
  mov,
  r0,
  r1,
  setSourceCapture,
  subprogram,
  xdp,
} from "../../src/asm/index.ts";

const leaf = subprogram("leaf", { entry: [mov(r0, 1), exit()] });
const build = () =>
  xdp("sample", {
    entry: [lddw(r1, 0x1122334455667788n), jeq(r1, 0, "skipped")],
    more: [call(leaf)],
    skipped: [],
    out: [exit()],
  });

describe("as data", () => {
  it("has place, bytes, words and source of every instruction", () => {
    const { program, type, lines } = listing(assemble(build()));
    expect({ program, type }).toEqual({ program: "sample", type: "xdp" });
    const file = fileURLToPath(import.meta.url);
    const source = { file, line: expect.any(Number), column: expect.any(Number) };
    const at = { function: "sample", source };
    expect(lines).toEqual([
      {
        ...at,
        offset: 0,
        bytes: "18010000887766550000000044332211",
        block: "entry",
        labels: ["entry"],
        text: "r1 = 0x1122334455667788",
      },
      {
        ...at,
        offset: 2,
        bytes: "1501010000000000",
        block: "entry",
        labels: [],
        text: "if r1 == 0x0 goto pc+1 <skipped>",
      },
      {
        ...at,
        offset: 3,
        bytes: "8510000001000000",
        block: "more",
        labels: ["more"],
        text: "call pc+1#leaf",
      },
      { ...at, offset: 4, bytes: "9500000000000000", block: "out", labels: ["skipped", "out"], text: "exit" },
      {
        ...at,
        offset: 5,
        bytes: "b700000001000000",
        block: "entry",
        labels: ["entry"],
        text: "r0 = 1",
        function: "leaf",
      },
      {
        ...at,
        offset: 6,
        bytes: "9500000000000000",
        block: "entry",
        labels: [],
        text: "exit",
        function: "leaf",
      },
    ]);
  });

  it("survives JSON, in the program's byte order and the wanted words", () => {
    const data = listing(assemble(build(), { endian: "big" }), { dialect: "llvm" });
    expect(JSON.parse(JSON.stringify(data))).toEqual(data);
    expect(data.lines[1]).toMatchObject({ bytes: "1510000100000000", text: "if r1 == 0 goto +1 <skipped>" });
  });
});

describe("as text", () => {
  it("has a head for each function and block, and columns", () => {
    const text = formatListing(listing(assemble(build())), { fileName: () => "sample.ts" });
    expect(text.replaceAll(/sample\.ts:\d+:\d+/g, "sample.ts:L:C")).toBe(
      [
        "sample:",
        "  entry:",
        "     0  18 01 00 00 88 77 66 55  r1 = 0x1122334455667788           ; sample.ts:L:C",
        "        00 00 00 00 44 33 22 11",
        "     2  15 01 01 00 00 00 00 00  if r1 == 0x0 goto pc+1 <skipped>  ; sample.ts:L:C",
        "  more:",
        "     3  85 10 00 00 01 00 00 00  call pc+1#leaf                    ; sample.ts:L:C",
        "  skipped:",
        "  out:",
        "     4  95 00 00 00 00 00 00 00  exit                              ; sample.ts:L:C",
        "leaf:",
        "  entry:",
        "     5  b7 00 00 00 01 00 00 00  r0 = 1                            ; sample.ts:L:C",
        "     6  95 00 00 00 00 00 00 00  exit                              ; sample.ts:L:C",
      ].join("\n"),
    );
  });

  it("without bytes and sources is the program alone", () => {
    const text = formatListing(listing(assemble(build())), { bytes: false, source: false });
    expect(text.split("\n").slice(0, 4)).toEqual([
      "sample:",
      "  entry:",
      "     0  r1 = 0x1122334455667788",
      "     2  if r1 == 0x0 goto pc+1 <skipped>",
    ]);
  });

  it("says nothing of a source that was not recorded", () => {
    setSourceCapture(false);
    onTestFinished(() => {
      setSourceCapture(true);
    });
    const data = listing(assemble(xdp("bare", { entry: [mov(r0, 2), exit()] })));
    expect(data.lines[0]?.source).toBeNull();
    expect(formatListing(data)).not.toContain(";");
  });
});
