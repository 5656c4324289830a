/**
 * Asks the running kernel which helpers each program type may call, by loading `call ID; r0 = 0; exit` for each pair and
 * reading the verifier's answer, and which helpers want a GPL compatible licence. Writes `helper-prog-types.json`.
 *
 *     npx tsx scripts/uapi/probe-helpers.ts        (as root)
 *
 * What a type may call can depend on its attach type, on being sleepable and on what it attaches to. The answers to all
 * variants that the kernel lets us load are united: a helper is listed if some program of the type may call it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { fileURLToPath } from "node:url";
import { BpfAttr } from "../../src/syscall/attr.ts";
import { linuxSyscalls } from "../../src/syscall/ffi.ts";
import {
  BPF_ALU64,
  BPF_CALL,
  BPF_EXIT,
  BPF_F_SLEEPABLE,
  BPF_JMP,
  BPF_LSM_CGROUP,
  BPF_LSM_MAC,
  BPF_MODIFY_RETURN,
  BPF_MOV,
  BPF_PROG_LOAD,
  BPF_TRACE_FENTRY,
  BPF_TRACE_FEXIT,
  BPF_TRACE_ITER,
  BPF_TRACE_RAW_TP,
  bpf_attach_type,
  bpf_prog_type,
} from "../../src/uapi/bpf.ts";
import { bpf_attr_prog_load } from "../../src/uapi/bpf-attr.ts";
import { readBtf } from "./btf-layout.ts";
import type { Facts, HelperProgTypes } from "./facts.ts";
import { format } from "./format.ts";

/** One way to load a program of some type. */
interface Variant {
  readonly progType: number;
  readonly attachType: number;
  readonly flags: number;
  readonly btfId: number;
}

type Answer = "callable" | "not callable" | "needs GPL" | "no answer";

const sys = linuxSyscalls();
const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);

/** Tries to load `[call helper;] r0 = 0; exit`; returns what the verifier wrote and whether the kernel took it. */
function load(variant: Variant, helper: number | undefined, license: string): { ok: boolean; log: string } {
  const call = helper === undefined ? [] : [BPF_JMP | BPF_CALL, helper];
  const words = [call, [BPF_ALU64 | BPF_MOV, 0], [BPF_JMP | BPF_EXIT, 0]].filter((insn) => insn.length > 0);
  const insns = new Uint8Array(words.length * 8);
  const view = new DataView(insns.buffer);
  for (const [i, [code = 0, imm = 0]] of words.entries()) {
    view.setUint8(i * 8, code);
    view.setInt32(i * 8 + 4, imm, true);
  }
  const log = new Uint8Array(16384);
  const attr = new BpfAttr(sys, bpf_attr_prog_load)
    .u32("prog_type", variant.progType)
    .u32("insn_cnt", words.length)
    .ptr("insns", insns)
    .ptr("license", text(license))
    .u32("log_level", 1)
    .u32("log_size", log.length)
    .ptr("log_buf", log)
    .u32("prog_flags", variant.flags)
    .u32("expected_attach_type", variant.attachType)
    .u32("attach_btf_id", variant.btfId);
  const fd = sys.bpf(BPF_PROG_LOAD, attr.bytes);
  if (fd >= 0) sys.close(fd);
  return { ok: fd >= 0, log: new TextDecoder().decode(log.subarray(0, log.indexOf(0))) };
}

/** The verifier looks at the type first, at the licence next, at the attach target and the arguments last. */
function ask(variant: Variant, helper: number, license: string): Answer {
  const { ok, log } = load(variant, helper, license);
  if (/program of this type cannot use helper|unknown func|invalid func/.test(log)) return "not callable";
  if (/cannot call GPL-restricted function/.test(log)) return "needs GPL";
  return ok || /\bcall bpf_|^R\d|^0: /m.test(log) ? "callable" : "no answer";
}

/** The variants of a program type whose bare `r0 = 0; exit` reaches the verifier's instructions. */
function variantsOf(
  progType: number,
  targets: readonly [attachType: number, btfIds: readonly number[]][],
): Variant[] {
  const candidates = targets.flatMap(([attachType, btfIds]) =>
    btfIds.flatMap((btfId) => [0, BPF_F_SLEEPABLE].map((flags) => ({ progType, attachType, flags, btfId }))),
  );
  return candidates.filter((variant) => {
    const { ok, log } = load(variant, undefined, "GPL");
    return ok || /^0: /m.test(log);
  });
}

/** What programs of types that need a BTF id can be tried on. */
function btfTargets(): Record<string, [number, number[]][]> {
  const btf = readBtf(readFileSync("/sys/kernel/btf/vmlinux"));
  const functions = btf.named(
    "func",
    /^(tcp_v4_rcv|ip_rcv|vfs_open|vfs_read|security_file_open|bpf_fentry_test1|dev_hard_start_xmit)$/,
  );
  return {
    tracing: [
      [BPF_TRACE_FENTRY, functions],
      [BPF_TRACE_FEXIT, functions],
      [BPF_MODIFY_RETURN, btf.named("func", /^(bpf_modify_return_test|security_file_open)$/)],
      [
        BPF_TRACE_RAW_TP,
        btf.named("typedef", /^btf_trace_(sched_switch|kfree_skb|sys_enter|xdp_exception|consume_skb)$/),
      ],
      [
        BPF_TRACE_ITER,
        btf.named("func", /^bpf_iter_(task|bpf_map|bpf_prog|tcp|udp|unix|task_file|cgroup|netlink)$/),
      ],
    ],
    lsm: [
      [BPF_LSM_MAC, btf.named("func", /^bpf_lsm_/)],
      [BPF_LSM_CGROUP, btf.named("func", /^bpf_lsm_(socket|sk_|inet|inode)/)],
    ],
  };
}

/** Asks about every helper for every program type, or for those named (as the file spells them). */
export function probeHelpers(helpers: Facts["helpers"], only?: readonly string[]): HelperProgTypes {
  const byType = btfTargets();
  const plain = Object.values(bpf_attach_type).map((type): [number, number[]] => [type, [0]]);
  const callable: Record<string, number[]> = {};
  const unknown: string[] = [];
  const gplOnly = new Set<number>();
  for (const [member, progType] of Object.entries(bpf_prog_type)) {
    const name = member.replace("BPF_PROG_TYPE_", "").toLowerCase();
    if (name === "unspec" || only?.includes(name) === false) continue;
    const variants = variantsOf(progType, byType[name] ?? plain);
    const ids: number[] = [];
    for (const { id } of helpers) {
      const variant = variants.find((each) => ask(each, id, "GPL") === "callable");
      if (variant === undefined) continue;
      ids.push(id);
      if (ask(variant, id, "Proprietary") === "needs GPL") gplOnly.add(id);
    }
    if (variants.length > 0) callable[name] = ids;
    else unknown.push(name);
  }
  const somewhere = new Set(Object.values(callable).flat());
  return {
    kernel: release().replace(/-.*/, ""),
    callable,
    unknown,
    absent: helpers.map((helper) => helper.id).filter((id) => !somewhere.has(id)),
    gplOnly: [...gplOnly].sort((a, b) => a - b),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  const { helpers } = JSON.parse(readFileSync(here("facts.json"), "utf8")) as Facts;
  const result = probeHelpers(helpers);
  writeFileSync(here("helper-prog-types.json"), format("helper-prog-types.json", JSON.stringify(result)));
  const absent = helpers.filter((helper) => result.absent.includes(helper.id)).map((helper) => helper.name);
  for (const [type, ids] of Object.entries(result.callable)) console.log(`${type}: ${ids.length} helpers`);
  console.log(`no answer for ${result.unknown.join(", ")}\nnowhere: ${absent.join(", ")}`);
}
