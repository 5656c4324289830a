import { expect, test } from "vitest";
import { assemble } from "../../../src/asm/assemble.ts";
import { mapDef } from "../../../src/asm/map-def.ts";
import type { Program } from "../../../src/asm/program.ts";
import { u32, u64 } from "../../../src/btf/layout/index.ts";
import { XDP_DROP, XDP_PASS, type XdpScope, xdp } from "../../../src/lang/index.ts";
import { ethhdr, iphdr, udphdr } from "../../../src/lang/net/index.ts";
import { BPF_JGT, BPF_JMP, BPF_X } from "../../../src/uapi/bpf.ts";

// How many bounds checks a program has: a later one goes into an earlier one where nobody can tell the difference.

const seen = mapDef({ name: "seen", type: "array", key: u32, value: u64, maxEntries: 1 });

function checksOf(program: Program): number {
  const { bytes } = assemble(program);
  return bytes.filter((byte, at) => at % 8 === 0 && byte === (BPF_JMP | BPF_JGT | BPF_X)).length;
}

function udpProgram(between: ($: XdpScope) => void, late: typeof XDP_PASS | typeof XDP_DROP): Program {
  return xdp("udp", ($) => {
    const pass = { else: () => $.return(XDP_PASS) };
    const eth = $.packet.take(ethhdr, pass);
    $.if(eth.h_proto.ne(0x0800), pass.else);
    between($);
    const ip = $.packet.take(iphdr, { else: () => $.return(late) });
    $.if(ip.protocol.ne(17), pass.else);
    const udp = $.packet.take(udphdr, pass);
    $.if(udp.dest.eq(53), () => $.return(XDP_DROP));
    return $.return(XDP_PASS);
  });
}

test("one check for headers whose failures all end in the same way", () => {
  expect(checksOf(udpProgram(() => undefined, XDP_PASS))).toBe(1);
});

test("a check of its own behind what others can see", () => {
  expect(checksOf(udpProgram(($) => $.atomic.add($.global(seen), 1), XDP_PASS))).toBe(2);
});

test("a check of its own for a failure that ends otherwise", () => {
  expect(checksOf(udpProgram(() => undefined, XDP_DROP))).toBe(3);
});

test("a header behind a length that the packet gives: its check is that of the skip, too", () => {
  const program = xdp("options", ($) => {
    const pass = { else: () => $.return(XDP_PASS) };
    const ip = $.packet.peek(iphdr, pass);
    $.packet.skip(ip.ihl.to(u32).mul(4), { ...pass, max: 60 });
    const udp = $.packet.take(udphdr, pass);
    $.if(udp.dest.eq(53), () => $.return(XDP_DROP));
    return $.return(XDP_PASS);
  });
  expect(checksOf(program)).toBe(2);
});
