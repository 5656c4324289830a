import { existsSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, expect, test } from "vitest";
import { exit, mapDef, mov32, r0, xdp } from "../../src/asm/index.ts";
import { u32 } from "../../src/btf/layout/index.ts";
import { openLink } from "../../src/kernel/link/open.ts";
import { attachRawTracepoint } from "../../src/kernel/link/tracepoint.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { ensureBpffs } from "../support/mounts.ts";
import { describeKernel } from "../support/privileges.ts";
import { counter } from "./link/support.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const def = mapDef({ name: "pinned", type: "array", key: u32, value: u32, maxEntries: 1 });

describeKernel("pins", () => {
  const sys = tracedSyscalls();
  const bpffs = ensureBpffs();
  const path = `${bpffs}/tsbpf-test-pin-${process.pid}`;
  afterEach(() => rmSync(path, { force: true }));

  test("a refusal says what to do", () => {
    using map = BpfMap.create(def, { sys });
    map.pin(path);
    expect(() => map.pin(path)).toThrow(
      `EEXIST (File exists) [pathname=${path}]\n  Something has that name already: open it, or remove it first.`,
    );
    const below = `${bpffs}/no-such-directory/map`;
    const missing = `the directories of ${below} must be there before anything is pinned in them`;
    expect(() => map.pin(below)).toThrow(missing);
    expect(() => BpfMap.open(def, below, { sys })).toThrow(missing);
    const outside = `${tmpdir()}/tsbpf-test-pin-${process.pid}`;
    expect(() => map.pin(outside)).toThrow(`${tmpdir()} is on no bpffs: pin below /sys/fs/bpf.`);
    expect(existsSync(outside)).toBe(false);
  });

  test("what is pinned there is of another kind", () => {
    using map = BpfMap.create(def, { sys });
    using prog = BpfProgram.load(xdp("pinned", { entry: [mov32(r0, 2), exit()] }), { sys });
    using seen = counter(sys, "raw_tracepoint", "pinned");
    using link = attachRawTracepoint(seen.prog, "sched_process_exec", { sys });
    for (const [object, kind] of [
      [map, "map"] as const,
      [prog, "program"] as const,
      [link, "link"] as const,
    ]) {
      object.pin(path);
      const opens = {
        map: () => BpfMap.open(def, path, { sys }),
        program: () => BpfProgram.open(path, { sys }),
        link: () => openLink(path, { sys }),
      };
      for (const [wanted, open] of Object.entries(opens)) {
        if (wanted === kind) open().close();
        else expect(open).toThrow(`'${path}' is a ${kind}, not a ${wanted}`);
      }
      object.unpin(path);
      expect(existsSync(path)).toBe(false);
    }
  });
});
