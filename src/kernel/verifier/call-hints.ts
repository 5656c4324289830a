import type { AssembledInsn } from "../../asm/assemble.ts";
import { bpf_map_type } from "../../uapi/bpf.ts";
import { helperProgTypes } from "../../uapi/helpers.ts";
import type { Hint, HintContext } from "./hint.ts";

/** What went wrong with a call of a helper, a kernel function or a subprogram. */
export const CALL_HINTS: readonly Hint[] = [
  {
    id: "helper-not-for-type",
    pattern: /(?:program of this type cannot use helper|unknown func) (\w+)#(\d+)/,
    explain: ([, helper, id], { assembled: { program } }) => {
      const types = typesCalling(Number(id)).filter((type) => type !== program.type);
      const who = types.length === 0 ? "" : ` It is for programs of type ${shortList(types)}.`;
      const instead = id === "26" && program.type === "xdp" ? XDP_PACKET : "";
      const attach = program.attachType === undefined ? "" : ` (${program.attachType})`;
      return `Programs of type ${program.type}${attach} may not call ${helper} on this kernel.${who}${instead}`;
    },
  },
  {
    id: "helper-unknown",
    pattern: /invalid func (\w+)#(-?\d+)/,
    explain: ([, helper, id]) =>
      `This kernel has no helper number ${id}${helper === "unknown" ? "" : ` (${helper})`}: it came with a later one, or the number is wrong.`,
  },
  {
    id: "gpl-only",
    pattern:
      /cannot call GPL-restricted function|cannot call kernel function from non-GPL compatible program/,
    explain: (_, { assembled, line }) => {
      const helper = line?.insn.ref?.kind === "helper" ? line.insn.ref.helper.name : "This function";
      return `${helper} is for programs under a GPL-compatible licence, and this one declares '${assembled.program.license}'. Declare { license: "GPL" } (or "Dual MIT/GPL"), or do without it.`;
    },
  },
  {
    id: "argument-constant",
    pattern: /R(\d) is not a known constant/,
    explain: ([, register], { line }) =>
      `Argument ${register} of ${calleeOf(line)} must be a constant that the verifier can see: load it right before the call, as in mov(r${register}, 64).`,
  },
  {
    id: "argument-length",
    pattern:
      /R(\d) (?:invalid zero-sized read|min value is negative, either use unsigned or|unbounded memory access, use)/,
    explain: ([reason, register], { line }) => {
      const length = `r${register}`;
      const [flaw, limit] = reason.includes("zero-sized")
        ? ["cannot rule out 0", `jeq(${length}, 0, "out"), jgt(${length}, 64, "out")`]
        : ["knows no limit for it", `and(${length}, 63)`];
      return `${length} is a length that ${calleeOf(line)} takes, and the verifier ${flaw}. Limit it right before the call, as in ${limit} for a buffer of 64 bytes.`;
    },
  },
  {
    id: "argument-type",
    pattern: /R(\d) type=(\S+) expected=(.*)/,
    explain: ([, register, is, expected = ""], { line }) => {
      const wanted = expected.split(/[,;] ?/).filter((kind) => kind !== "");
      const kinds = wanted.map(kindOfArgument).filter((kind, at, all) => all.indexOf(kind) === at);
      const list =
        kinds.length > 4
          ? "a pointer to memory of a known size (stack, map value, packet, ring buffer record)"
          : kinds.join(" or ");
      const released =
        /^(?:scalar|inv)$/.test(is ?? "") && /^(?:ringbuf_mem|sock\w*|ptr_\w*)$/.test(expected)
          ? " After it was given back once (submitted, discarded, released) it is no pointer any more."
          : "";
      return `Argument ${register} of ${calleeOf(line)} must be ${list}, and r${register} holds ${kindOfArgument(is ?? "")}.${released}`;
    },
  },
  {
    id: "wrong-map",
    pattern: /cannot pass map_type (\d+) into func (\w+)#/,
    explain: ([, number, helper]) => {
      const type = mapTypeName(Number(number));
      const instead = type === "cpumap" || type.startsWith("devmap") ? REDIRECT_MAP : "";
      return `${helper} does not work on maps of type ${type}.${instead}`;
    },
  },
  {
    id: "tail-call-map",
    pattern: /expected prog array map for tail call|tail_call abusing map_ptr/,
    explain: () =>
      "bpf_tail_call takes the context in r1, a map of type prog_array in r2, and the index in r3.",
  },
  {
    id: "kfunc",
    pattern:
      /calling kernel function (\S+) is not allowed|kernel btf_id \d+ is not a function|cannot find address for kernel function (\S+)/,
    explain: ([, notAllowed, missing], { assembled }) =>
      notAllowed === undefined
        ? `The kernel function${missing === undefined ? "" : ` ${missing}`} does not exist on this kernel, or programs may not call it.`
        : `Programs of type ${assembled.program.type} may not call ${notAllowed}: kernel functions are open to certain program types, and may change with the next kernel.`,
  },
  {
    id: "kfunc-device",
    pattern: /metadata kfuncs require device-bound program/,
    explain: () =>
      'What a driver knows of a packet is there only for programs that are loaded for its interface: BpfProgram.load(program, { device: "eth0" }).',
  },
  {
    id: "reference-leak",
    pattern: /Unreleased reference id=\d+ alloc_insn=(\d+)|would lead to reference leak/,
    explain: ([, acquired], { assembled, place }) => {
      const word = Number(acquired ?? -1);
      const from = assembled.lines.find(({ offset }) => offset === word);
      const helper = from?.insn.ref?.kind === "helper" ? from.insn.ref.helper.name : undefined;
      const what = helper === undefined ? "What a call acquired" : `What ${helper} gave`;
      const where = acquired === undefined ? "" : ` at ${place(word)}`;
      const release = RELEASE[helper ?? ""] ?? "the function that releases it";
      return `${what}${where} is still held where the program ends. Give it back with ${release} on every path to exit(); the one where it is null needs none.`;
    },
  },
  {
    id: "lock-held",
    pattern:
      /function calls are not allowed while holding a lock|bpf_spin_lock-ed region|bpf_exit instruction .* bpf_spin_lock|first bpf_spin_unlock|already held|bpf_spin_unlock without taking a lock/i,
    explain: () =>
      "Between bpf_spin_lock and bpf_spin_unlock a program may only load, store and compute: no call, no exit, no second lock. Do the calls before or after, and unlock on every path to exit().",
  },
  {
    id: "spin-lock-map",
    pattern:
      /has to have BTF in order to use bpf_spin_lock|has no valid bpf_spin_lock|off \d+ doesn't point to 'struct bpf_spin_lock'/,
    explain: () =>
      "A lock is a field of the map's value of type struct bpf_spin_lock, which the kernel finds by the BTF of the value: declare it in the value's layout, and pass the address of that field.",
  },
  {
    id: "call-depth",
    pattern: /the call stack of (\d+) frames is too deep|recursive call from insn/,
    explain: () =>
      "Functions may call each other 8 deep, and never themselves. Write a recursion as a loop, or go on with bpf_tail_call.",
  },
  {
    id: "stack-depth",
    pattern: /combined stack size of (\d+) calls is (\d+)/,
    explain: ([, calls, size], { assembled }) =>
      `The ${calls} functions of one chain of calls (of ${names(assembled)}) use ${size} bytes of stack together, and may use 512. Keep large data in a map, or do the work in fewer nested calls.`,
  },
];

const REDIRECT_MAP =
  " Programs can only redirect to it (bpf_redirect_map): keep a list of its entries in an array map beside it.";
const XDP_PACKET = " XDP reads the packet directly, between data and data_end of its context.";

/** The program types that may call a helper that not all may call. */
function typesCalling(id: number): string[] {
  return Object.entries(helperProgTypes)
    .filter(([, ids]) => ids !== "all" && ids.includes(id))
    .map(([type]) => type);
}

const MAX_LISTED = 5;

function shortList(names: readonly string[]): string {
  const rest = names.length - MAX_LISTED;
  return rest <= 0 ? names.join(", ") : `${names.slice(0, MAX_LISTED).join(", ")} and ${rest} more`;
}

const SOCKET_RELEASE = "bpf_sk_release";
/** What gives back what a helper acquired. */
const RELEASE: { readonly [helper: string]: string } = {
  bpf_sk_lookup_tcp: SOCKET_RELEASE,
  bpf_sk_lookup_udp: SOCKET_RELEASE,
  bpf_skc_lookup_tcp: SOCKET_RELEASE,
  bpf_map_lookup_elem: SOCKET_RELEASE, // of a sockmap
  bpf_ringbuf_reserve: "bpf_ringbuf_submit or bpf_ringbuf_discard",
  bpf_ringbuf_reserve_dynptr: "bpf_ringbuf_submit_dynptr or bpf_ringbuf_discard_dynptr",
  bpf_kptr_xchg: "another bpf_kptr_xchg, or the function that releases the object",
};

function calleeOf(line: AssembledInsn | undefined): string {
  const ref = line?.insn.ref;
  switch (ref?.kind) {
    case "helper":
      return ref.helper.name;
    case "kfunc":
      return ref.name;
    case "subprogram":
      return ref.subprogram.name;
    default:
      return "the call";
  }
}

/** The verifier's names of register types (reg_type_str in kernel/bpf/log.c) in words. */
function kindOfArgument(type: string): string {
  const kind = ARGUMENT_KINDS[type.replace(/^(?:rcu_|trusted_|untrusted_|rdonly_)+/, "")];
  return kind ?? type;
}

const ARGUMENT_KINDS: { readonly [type: string]: string } = {
  "?": "nothing yet",
  scalar: "a number",
  inv: "a number", // before 5.18
  ctx: "the context",
  fp: "a pointer into the stack",
  map_ptr: "a map (lddw(register, mapFd(map)))",
  map_value: "a pointer to a map value",
  map_key: "a pointer to a map key",
  pkt: "a pointer into the packet",
  pkt_meta: "a pointer to the packet's metadata",
  pkt_end: "data_end",
  mem: "a pointer to memory",
  ringbuf_mem: "a record from bpf_ringbuf_reserve",
  sock: "a socket",
  sock_common: "a socket",
  tcp_sock: "a TCP socket",
  func: "a subprogram (lddw(register, callback(subprogram)))",
};

function mapTypeName(type: number): string {
  const name = Object.entries(bpf_map_type).find(([, number]) => number === type)?.[0];
  return name?.replace("BPF_MAP_TYPE_", "").toLowerCase() ?? String(type);
}

function names({ functions }: HintContext["assembled"]): string {
  return functions.map(({ name }) => name).join(", ");
}
