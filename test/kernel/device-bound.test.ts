import { afterAll, beforeAll, expect, test } from "vitest";
import { mapDef } from "../../src/asm/map-def.ts";
import { s32, struct, u32 } from "../../src/btf/layout/index.ts";
import { attachXdp, BpfMap, BpfProgram } from "../../src/kernel/index.ts";
import {
  kfuncDef,
  programContext,
  programMemory,
  TC_ACT_OK,
  tc,
  XDP_PASS,
  xdp,
} from "../../src/lang/index.ts";

import { inNetns } from "../support/in-netns.ts";
import { createTestNet, type TestNet } from "../support/netns.ts";
import { describeKernel } from "../support/privileges.ts";

// What the driver knows of a packet, for programs that are loaded for its interface.

const rxHash = kfuncDef(
  "bpf_xdp_metadata_rx_hash",
  [programContext, programMemory(u32), programMemory(u32)],
  s32,
);
const Seen = struct("seen", { packets: u32, failed: u32, hash: u32 });
const seen = mapDef({ name: "seen", type: "array", key: u32, value: Seen, maxEntries: 1 });

const askForHash = xdp("ask_for_hash", ($) => {
  const state = $.global(seen);
  const answer = $.struct(struct("answer", { hash: u32, type: u32 }));
  $.atomic.add(state.packets, 1);
  $.if($.kfunc(rxHash, answer.hash, answer.type).eq(0), () => state.hash.set(answer.hash)).else(() =>
    $.atomic.add(state.failed, 1),
  );
  return $.return(XDP_PASS);
});

describeKernel("programs that are loaded for an interface", () => {
  let net: TestNet;
  const inside = <T>(fn: () => T): T => inNetns(net.inside.path, fn);
  beforeAll(async () => {
    net = await createTestNet();
  });
  afterAll(() => net.dispose());

  test("the driver gives each packet's hash", async () => {
    using map = BpfMap.create(seen);
    using prog = inside(() => BpfProgram.load(askForHash, { maps: [map], device: "eth0" }));
    const link = inside(() => attachXdp(prog, "eth0", { mode: "native" }));
    await net.ping({ count: 3 });
    inside(() => link.detach());
    const { packets, failed, hash } = map.get(0) ?? { packets: 0, failed: 0, hash: 0 };
    expect(packets).toBeGreaterThanOrEqual(3);
    expect(failed).toBe(0);
    expect(hash).not.toBe(0);
    expect(link.mode).toBe("native");
  });

  test("what cannot be, and what to do", () => {
    using map = BpfMap.create(seen);
    expect(() => BpfProgram.load(askForHash, { maps: [map] })).toThrow(
      'BpfProgram.load(program, { device: "eth0" })',
    );
    expect(() => inside(() => BpfProgram.load(askForHash, { maps: [map], device: "eth7" }))).toThrow(
      "no interface 'eth7'",
    );
    const other = tc("other", ($) => $.return(TC_ACT_OK));
    expect(() => inside(() => BpfProgram.load(other, { device: "eth0" }))).toThrow(
      "program 'other' of type sched_cls is not loaded for an interface",
    );
    using prog = inside(() => BpfProgram.load(askForHash, { maps: [map], device: "eth0" }));
    expect(() => inside(() => attachXdp(prog, "eth0", { mode: "generic" }))).toThrow(
      "runs in native mode only",
    );
    expect(() => inside(() => attachXdp(prog, "lo", { mode: "native" }))).toThrow(
      'load it with { device: "lo" }',
    );
  });
});
