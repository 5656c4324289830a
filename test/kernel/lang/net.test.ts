import { expect, test } from "vitest";
import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { BpfMap, BpfProgram } from "../../../src/kernel/index.ts";
import { TC_ACT_OK, TC_ACT_SHOT, XDP_DROP, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { ethhdr, parseIpv6 } from "../../../src/lang/net/index.ts";
import { found, tcDissector, xdpDissector } from "../../lang/net/dissector.ts";
import { dissect, type Found } from "../../lang/net/reference.ts";
import { samples } from "../../lang/net/samples.ts";
import { randomNumbers } from "../../lang/packets.ts";
import { describeKernel } from "../../support/privileges.ts";

// The parsing helpers as the compiler and the verifier have them, beside a parser that was written without them.

interface Dissector extends Disposable {
  /** What the program finds; `undefined` where it refuses the packet. */
  parse(packet: Uint8Array): Found | undefined;
}

function load(program: Program, verdicts: { readonly good: number; readonly bad: number }): Dissector {
  const map = BpfMap.create(found);
  let loaded: BpfProgram;
  try {
    loaded = BpfProgram.load(program, { maps: [map] });
  } catch (error) {
    map[Symbol.dispose]();
    throw error;
  }
  return {
    parse: (packet) => {
      const { retval } = loaded.testRun({ data: packet });
      if (retval === verdicts.bad) return undefined;
      expect(retval).toBe(verdicts.good);
      return map.get(0);
    },
    [Symbol.dispose]: () => {
      loaded[Symbol.dispose]();
      map[Symbol.dispose]();
    },
  };
}

/** The kernel makes socket buffers for a test run of those packets only whose network header is whole. */
function isWhole(packet: Uint8Array): boolean {
  const type = new DataView(packet.buffer, packet.byteOffset).getUint16(12);
  return packet.length >= 14 + (type === 0x0800 ? 20 : type === 0x86dd ? 40 : 1);
}

/** Samples with some of their bytes changed, cut somewhere: always the same for a seed. */
function* damaged(count: number, seed: number): Generator<Uint8Array> {
  const random = randomNumbers(seed);
  const whole = Object.values(samples);
  for (let n = 0; n < count; n++) {
    const packet = (whole[random(whole.length)] as Uint8Array).slice();
    for (let changes = 1 + random(4); changes > 0; changes--) {
      packet[12 + random(packet.length - 12)] = random(256);
    }
    yield packet.slice(0, random(3) === 0 ? 14 + random(packet.length - 13) : packet.length);
  }
}

const always = (): boolean => true;

const builds = [
  {
    name: "XDP, kernel 5.10",
    make: () => xdpDissector({ kernel: "5.10" }),
    good: XDP_PASS,
    bad: XDP_DROP,
    canRun: always,
  },
  {
    name: "XDP, kernel 6.6",
    make: () => xdpDissector({ kernel: "6.6" }),
    good: XDP_PASS,
    bad: XDP_DROP,
    canRun: always,
  },
  {
    name: "TC, kernel 5.10",
    make: () => tcDissector({ kernel: "5.10" }),
    good: TC_ACT_OK,
    bad: TC_ACT_SHOT,
    canRun: isWhole,
  },
  {
    name: "TC, kernel 6.6",
    make: () => tcDissector({ kernel: "6.6" }),
    good: TC_ACT_OK,
    bad: TC_ACT_SHOT,
    canRun: isWhole,
  },
] as const;

describeKernel("the parsing helpers in the kernel", () => {
  test.each(builds)("$name: every sample, cut at every length", ({ make, canRun, ...verdicts }) => {
    using dissector = load(make(), verdicts);
    for (const [name, packet] of Object.entries(samples)) {
      for (let length = 14; length <= packet.length; length++) {
        const cut = packet.slice(0, length);
        if (canRun(cut)) expect([name, length, dissector.parse(cut)]).toEqual([name, length, dissect(cut)]);
      }
    }
  });

  test.each(builds)("$name: samples with changed bytes", ({ make, canRun, ...verdicts }) => {
    using dissector = load(make(), verdicts);
    let good = 0;
    let bad = 0;
    for (const packet of damaged(4_000, 7)) {
      if (!canRun(packet)) continue;
      const expected = dissect(packet);
      if (expected === undefined) bad++;
      else good++;
      const hex = Buffer.from(packet).toString("hex");
      expect([hex, dissector.parse(packet)]).toEqual([hex, expected]);
    }
    expect(Math.min(good, bad)).toBeGreaterThan(500);
  });

  test("the way out of a helper that loops leaves the caller's loop", () => {
    const program = xdp("twice", ($) => {
      const turns = $.let(u32, 0);
      $.for(3, () => {
        turns.set(turns.add(1));
        $.packet.rewind();
        $.packet.take(ethhdr, { else: () => $.break() });
        parseIpv6($, { else: () => $.break() });
      });
      return $.return(turns);
    });
    using loaded = BpfProgram.load(program);
    const packet = new Uint8Array(14 + 40 + 8 + 8);
    packet.set([0x86, 0xdd, 0x60], 12);
    packet[14 + 6] = 0; // hop-by-hop options, 8 bytes, then nothing
    packet[14 + 40] = 59;
    const run = (length: number) => loaded.testRun({ data: packet.subarray(0, length) }).retval;
    expect(run(packet.length)).toBe(3);
    expect(run(14 + 40 + 1)).toBe(1); // the extension header is cut off
    expect(run(14 + 39)).toBe(1);
  });
});
