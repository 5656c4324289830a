import { mov32 } from "../../asm/alu.ts";
import { call } from "../../asm/call.ts";
import { exit } from "../../asm/jump.ts";
import type { AttachTypeName, ProgTypeName } from "../../asm/program.ts";
import { r0 } from "../../asm/register.ts";
import { TsbpfError } from "../../base/error.ts";
import { suggest } from "../../base/suggest.ts";
import { BPF_F_SLEEPABLE } from "../../uapi/bpf.ts";
import type { Helper } from "../../uapi/helper.ts";
import { type HelperName, helpers } from "../../uapi/helpers.ts";
import { no, unknown, type Verdict, yes } from "./answer.ts";
import { ATTACH_TYPES, attachTypeNumber } from "./attach-types.ts";
import { type Attempts, type LoadSpec, saidBy } from "./attempt.ts";
import { PROG_TYPES } from "./prog-types.ts";
import { type TracingTarget, targetId } from "./tracing-target.ts";

/** Every helper by name, without `undefined` in the places of ids that have none. */
export const HELPERS: ReadonlyMap<string, Helper> = new Map(
  helpers.flatMap((helper) => (helper === undefined ? [] : [[helper.name, helper]])),
);

/** @throws TsbpfError for a name that no helper has. */
export function helperByName(name: HelperName): Helper {
  const helper = HELPERS.get(name);
  if (helper !== undefined) return helper;
  throw new TsbpfError(`there is no helper '${name}'`, { hint: suggest(name, [...HELPERS.keys()]) });
}

/** The kernel that brought a helper (to its first program type; others followed). */
export function helperSince(id: number): string {
  return HELPERS_UP_TO.find(([last]) => id <= last)?.[1] ?? "7.3";
}

/** The ways to load a program of a type, as far as this kernel takes them. */
export interface Variants {
  readonly loadable: readonly LoadSpec[];
  /** What stood in the way of others; they may well be able to do more. */
  readonly untried: Verdict | undefined;
  /** Why there is no way at all, where there is none. */
  readonly none: Verdict;
}

/**
 * Finds the ways to load a program of a type. What a program may call can depend on its attach type, its target and on
 * being sleepable, so that a helper is there if one of them may call it.
 */
export function findVariants(attempts: Attempts, type: ProgTypeName): Variants {
  const loadable: LoadSpec[] = [];
  const refusals: Verdict[] = [];
  for (const variant of variantsOf(type)) {
    const attempt = attempts.load(variant);
    if (attempt.result >= 0) loadable.push(variant);
    else refusals.push(attempts.conclude(attempt));
  }
  const untried = refusals.find(({ answer }) => answer === "unknown");
  const none =
    untried ?? (PROG_TYPES[type].needsMore === undefined ? refusals[0] : unknown(PROG_TYPES[type].needsMore));
  return {
    loadable,
    untried,
    none: none ?? unknown(`the kernel's BTF has no target to try ${type} programs on`),
  };
}

/** Whether programs of a type may call the helper, found out by loading a call of it. */
export function probeHelper(
  attempts: Attempts,
  { loadable, untried, none }: Variants,
  helper: Helper,
): Verdict {
  let answer: Verdict | undefined;
  for (const variant of loadable) {
    const told = ask(attempts, variant, helper);
    if (told.answer === "yes") return told;
    if (answer === undefined || told.answer === "unknown") answer = told;
  }
  if (answer?.answer === "no" && untried !== undefined) {
    return unknown(
      `some programs of the type may not call it, and others could not be loaded: ${untried.reason}`,
    );
  }
  return answer ?? none;
}

/** The verifier looks at what may be called first, and at the arguments, which are not there, last. */
function ask(attempts: Attempts, variant: LoadSpec, helper: Helper): Verdict {
  const attempt = attempts.load({ ...variant, code: [call(helper), mov32(r0, 1), exit()], logAtOnce: true });
  if (attempt.result >= 0) return yes();
  if (/cannot use helper|unknown func|invalid func/.test(attempt.log))
    return hidden(attempts, helper) ?? no();
  if (/\bcall bpf_\w+#\d+|^R\d|^0: /m.test(attempt.log)) return yes();
  return unknown(saidBy(attempt));
}

/** The kernel hides helpers from programs that may not call them: then it looks as if they were not there. */
function hidden(attempts: Attempts, { name }: Helper): Verdict | undefined {
  const lacking = (["CAP_BPF", "CAP_PERFMON"] as const).filter((capability) => !attempts.holds(capability));
  if (lacking.length > 0) {
    return unknown(
      `this process lacks ${lacking.join(" and ")}, without which the kernel hides some helpers`,
    );
  }
  const { lockdown } = attempts.facts();
  const reads = /^bpf_probe_read|^bpf_copy_from_user_task$/.test(name) && lockdown === "confidentiality";
  const writes =
    name === "bpf_probe_write_user" && (lockdown === "integrity" || lockdown === "confidentiality");
  return reads || writes ? no(`the kernel is locked down (${lockdown}), which hides it`) : undefined;
}

function variantsOf(type: ProgTypeName): LoadSpec[] {
  const { attachType, flags } = PROG_TYPES[type];
  if (type === "tracing") return TRACING_VARIANTS.flatMap(([name, target]) => targeted(type, name, target));
  if (type === "lsm") return LSM_VARIANTS.flatMap(([name, target]) => targeted(type, name, target));
  const names = (Object.keys(ATTACH_TYPES) as AttachTypeName[]).filter(
    (name) => ATTACH_TYPES[name].type === type,
  );
  const attachTypes = new Set([attachType ?? 0, ...names.map(attachTypeNumber)]);
  const more = flags === undefined ? {} : { prog_flags: flags };
  const plain = [...attachTypes].map((number): LoadSpec => ({ type, attachType: number, more }));
  if (type !== "kprobe") return plain;
  return [...plain, { type, more: { prog_flags: BPF_F_SLEEPABLE } }]; // a uprobe may sleep
}

function targeted(type: ProgTypeName, name: AttachTypeName, target: TracingTarget): LoadSpec[] {
  const id = targetId(target);
  if (typeof id !== "number") return [];
  const attachType = attachTypeNumber(name);
  return [0, BPF_F_SLEEPABLE].map((prog_flags) => ({
    type,
    attachType,
    code: [mov32(r0, 0), exit()],
    more: { attach_btf_id: id, prog_flags },
  }));
}

const TRACING_VARIANTS: readonly [AttachTypeName, TracingTarget][] = [
  ["trace_raw_tp", { kind: "typedef", name: "btf_trace_sched_switch" }],
  ["trace_raw_tp", { kind: "typedef", name: "btf_trace_kfree_skb" }],
  ["trace_iter", { kind: "func", name: "bpf_iter_task" }],
  ["trace_iter", { kind: "func", name: "bpf_iter_tcp" }],
  ["trace_fentry", { kind: "func", name: "tcp_v4_rcv" }],
  ["trace_fexit", { kind: "func", name: "vfs_open" }],
  ["modify_return", { kind: "func", name: "security_file_open" }],
];

const LSM_VARIANTS: readonly [AttachTypeName, TracingTarget][] = [
  ["lsm_mac", { kind: "func", name: "bpf_lsm_file_open" }],
  ["lsm_mac", { kind: "func", name: "bpf_lsm_bprm_committed_creds" }],
  ["lsm_mac", { kind: "func", name: "bpf_lsm_socket_connect" }],
  ["lsm_cgroup", { kind: "func", name: "bpf_lsm_socket_bind" }],
];

/** Ids are given out in order, and never again: the last one of each kernel says which kernel brought which. */
const HELPERS_UP_TO: readonly (readonly [lastId: number, kernel: string])[] = [
  [3, "3.19"],
  [11, "4.1"],
  [16, "4.2"],
  [22, "4.3"],
  [25, "4.4"],
  [26, "4.5"],
  [30, "4.6"],
  [36, "4.8"],
  [41, "4.9"],
  [44, "4.10"],
  [45, "4.11"],
  [47, "4.12"],
  [50, "4.13"],
  [53, "4.14"],
  [57, "4.15"],
  [59, "4.16"],
  [64, "4.17"],
  [80, "4.18"],
  [83, "4.19"],
  [90, "4.20"],
  [92, "5.0"],
  [98, "5.1"],
  [108, "5.2"],
  [109, "5.3"],
  [110, "5.4"],
  [115, "5.5"],
  [118, "5.6"],
  [124, "5.7"],
  [135, "5.8"],
  [141, "5.9"],
  [155, "5.10"],
  [162, "5.11"],
  [163, "5.12"],
  [165, "5.13"],
  [168, "5.14"],
  [175, "5.15"],
  [179, "5.16"],
  [185, "5.17"],
  [193, "5.18"],
  [203, "5.19"],
  [207, "6.0"],
  [209, "6.1"],
  [211, "6.2"],
];
