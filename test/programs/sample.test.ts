import { describe, expect, test } from "vitest";
import { assemble } from "../../src/asm/assemble.ts";
import type { Program } from "../../src/asm/program.ts";
import { decode, encode } from "../../src/btf/layout/index.ts";
import {
  cpuMapDef,
  cpuMapValue,
  tcEgress,
  tcEgressLang,
  tcIngress,
  tcIngressLang,
  xdpOnTargetCpu,
  xdpOnTargetCpuLang,
  xdpSameCpu,
  xdpSameCpuLang,
} from "../../src/programs/index.ts";
import { BPF_F_XDP_HAS_FRAGS } from "../../src/uapi/bpf.ts";

// The sample's programs as the kernel gets them, written by hand from RFC 9669 and linux/bpf.h, not copied from the
// assembler: code, dst in the low half and src in the high half of the second byte, off, imm, all little-endian.

const cpus = cpuMapDef(4);

/** r6 = the core: call bpf_get_smp_processor_id (8); w6 = w0. */
const CORE = ["85 00 0000 08000000", "bc 06 0000 00000000"];

/** r3 = r6 for the %d, the format of 19 characters and its NUL in 20 bytes of stack, bpf_trace_printk (6). */
const print = (first: readonly string[]): string[] => [
  "bf 63 0000 00000000",
  `62 0a ecff ${first[0]}`,
  `62 0a f0ff ${first[1]}`,
  `62 0a f4ff ${first[2]}`,
  "62 0a f8ff 20637075", // " cpu"
  "62 0a fcff 3d256400", // "=%d" and the NUL
  "bf a1 0000 00000000", // r1 = r10
  "07 01 0000 ecffffff", // r1 += -20
  "b4 02 0000 14000000", // w2 = 20
  "85 00 0000 06000000",
];
const PRINT_XDP = print(["5b584450", "20202020", "2020205d"]); // "[XDP" "    " "   ]"
const PRINT_TARGET = print(["5b584450", "20637075", "6d61705d"]); // "[XDP" " cpu" "map]"
const PRINT_INGRESS = print(["5b544320", "696e6772", "6573735d"]); // "[TC " "ingr" "ess]"
const PRINT_EGRESS = print(["5b544320", "65677265", "7373205d"]); // "[TC " "egre" "ss ]"

/** bpf_redirect_map (51) of the map (its fd comes when loading) with the core as key. */
const redirect = (missing: string): string[] => [
  "18 11 0000 00000000", // r1 = the map, BPF_PSEUDO_MAP_FD
  "00 00 0000 00000000",
  "bc 62 0000 00000000", // w2 = w6
  `b4 03 0000 ${missing}`, // w3 = what is returned where the map has no such key
  "85 00 0000 33000000",
];
const EXIT = "95 00 0000 00000000";
const UNSPEC = "b4 00 0000 ffffffff"; // w0 = -1

const bytesOf = (program: Program): string[] => {
  const { bytes } = assemble(program);
  const words = Array.from({ length: bytes.length / 8 }, (_, at) => bytes.subarray(at * 8, at * 8 + 8));
  return words.map((word) =>
    Buffer.from(word)
      .toString("hex")
      .replace(/^(..)(..)(....)(.{8})$/, "$1 $2 $3 $4"),
  );
};

describe("bytes", () => {
  test.each<[string, Program, readonly string[]]>([
    ["xdp_same_cpu", xdpSameCpu(cpus), [...CORE, ...PRINT_XDP, ...redirect("02000000"), EXIT]],
    [
      "xdp_same_cpu that drops",
      xdpSameCpu(cpus, { missing: "drop" }),
      [...CORE, ...PRINT_XDP, ...redirect("00000000"), EXIT],
    ],
    ["xdp_same_cpu in silence", xdpSameCpu(cpus, { trace: false }), [...CORE, ...redirect("02000000"), EXIT]],
    [
      "xdp_same_cpu in silence that drops, for fragments",
      xdpSameCpu(cpus, { trace: false, missing: "drop", frags: true }),
      [...CORE, ...redirect("00000000"), EXIT],
    ],
    ["tc_ingress", tcIngress(), [...CORE, ...PRINT_INGRESS, UNSPEC, EXIT]],
    ["tc_ingress in silence", tcIngress({ trace: false }), [UNSPEC, EXIT]],
    [
      "tc_ingress that redirects",
      tcIngress({ redirectTo: 0x1234 }),
      [...CORE, ...PRINT_INGRESS, "b4 01 0000 34120000", "b4 02 0000 00000000", "85 00 0000 17000000", EXIT],
    ],
    [
      "tc_ingress that redirects in silence",
      tcIngress({ trace: false, redirectTo: 7 }),
      ["b4 01 0000 07000000", "b4 02 0000 00000000", "85 00 0000 17000000", EXIT],
    ],
    ["tc_egress", tcEgress(), [...CORE, ...PRINT_EGRESS, UNSPEC, EXIT]],
    ["tc_egress in silence", tcEgress({ trace: false }), [UNSPEC, EXIT]],
    ["xdp_target_cpu", xdpOnTargetCpu(), [...CORE, ...PRINT_TARGET, "b4 00 0000 02000000", EXIT]],
    [
      "xdp_target_cpu for fragments",
      xdpOnTargetCpu({ frags: true }),
      [...CORE, ...PRINT_TARGET, "b4 00 0000 02000000", EXIT],
    ],
  ])("%s", (_, program, expected) => {
    expect(bytesOf(program)).toEqual(expected);
  });
});

describe("what the kernel is told beside the instructions", () => {
  test.each([
    [
      xdpSameCpu(cpus),
      { name: "xdp_same_cpu", type: "xdp", license: "GPL", flags: 0, attachType: undefined },
    ],
    [xdpSameCpu(cpus, { frags: true }), { flags: BPF_F_XDP_HAS_FRAGS }],
    [xdpOnTargetCpu(), { name: "xdp_target_cpu", type: "xdp", attachType: "xdp_cpumap", flags: 0 }],
    [xdpOnTargetCpu({ frags: true }), { attachType: "xdp_cpumap", flags: BPF_F_XDP_HAS_FRAGS }],
    [tcIngress(), { name: "tc_ingress", type: "sched_cls", license: "GPL", flags: 0 }],
    [tcEgress(), { name: "tc_egress", type: "sched_cls", license: "GPL", flags: 0 }],
  ])("%#", (program, expected) => {
    expect(program).toMatchObject(expected);
  });

  test("the CPU map is the only one, and only of xdp_same_cpu", () => {
    expect(assemble(xdpSameCpu(cpus)).maps).toEqual([cpus]);
    for (const program of [tcIngress(), tcEgress(), xdpOnTargetCpu()])
      expect(assemble(program).maps).toEqual([]);
  });
});

describe("the CPU map", () => {
  test("an entry for each core that may ever be there", () => {
    expect(cpuMapDef(64)).toMatchObject({ name: "cpu_map", type: "cpumap", maxEntries: 64, flags: 0 });
    expect([cpus.key?.size, cpus.value?.size]).toEqual([4, 8]);
  });

  test("struct bpf_cpumap_val: qsize, then the program", () => {
    const bytes = encode(cpuMapValue, { qsize: 192, prog: -1 });
    expect(decode(cpuMapValue, bytes)).toEqual({ qsize: 192, prog: -1 });
    expect(new Uint32Array(bytes.buffer)[0]).toBe(192);
    expect(new Int32Array(bytes.buffer)[1]).toBe(-1);
  });
});

describe("the sample in the structured language", () => {
  test.each<[string, Program, Program, insns: readonly [byHand: number, language: number]]>([
    ["xdp_same_cpu", xdpSameCpu(cpus), xdpSameCpuLang(cpus), [18, 18]],
    [
      "xdp_same_cpu that drops, for fragments",
      xdpSameCpu(cpus, { missing: "drop", frags: true }),
      xdpSameCpuLang(cpus, { missing: "drop", frags: true }),
      [18, 18],
    ],
    [
      "xdp_same_cpu in silence",
      xdpSameCpu(cpus, { trace: false }),
      xdpSameCpuLang(cpus, { trace: false }),
      [8, 7],
    ],
    ["tc_ingress", tcIngress(), tcIngressLang(), [14, 13]],
    ["tc_ingress in silence", tcIngress({ trace: false }), tcIngressLang({ trace: false }), [2, 2]],
    ["tc_ingress that redirects", tcIngress({ redirectTo: 7 }), tcIngressLang({ redirectTo: 7 }), [16, 15]],
    ["tc_egress", tcEgress(), tcEgressLang(), [14, 13]],
    ["xdp_target_cpu", xdpOnTargetCpu(), xdpOnTargetCpuLang(), [14, 13]],
    [
      "xdp_target_cpu for fragments",
      xdpOnTargetCpu({ frags: true }),
      xdpOnTargetCpuLang({ frags: true }),
      [14, 13],
    ],
  ])(
    "%s: the same for the kernel, and its instructions by hand and compiled",
    (_, byHand, language, insns) => {
      const { name, type, license, attachType, flags } = byHand;
      expect(language).toMatchObject({ name, type, license, attachType, flags });
      const [first, second] = [assemble(byHand), assemble(language)];
      expect(second.maps).toEqual(first.maps);
      expect([first, second].map(({ bytes }) => bytes.length / 8)).toEqual(insns);
    },
  );
});
