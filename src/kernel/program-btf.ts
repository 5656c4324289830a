import type { Assembled, AssembledFunction } from "../asm/assemble.ts";
import type { ProgTypeName } from "../asm/program.ts";
import type { SourcePosition } from "../asm/source-position.ts";
import { createBtfBuilder } from "../btf/builder.ts";
import { encodeFuncInfo, encodeLineInfo, type FuncInfo, type LineInfo } from "../btf/ext.ts";
import type { BtfParam } from "../btf/type.ts";
import type { SourceText } from "./source-text.ts";

/** What describes a program to the kernel's verifier and to bpftool: its functions, and the line behind each instruction. */
export interface ProgramBtf {
  /** A blob for `BPF_BTF_LOAD`. */
  readonly btf: Uint8Array;
  /** `struct bpf_func_info` records. */
  readonly funcInfo: Uint8Array;
  /** `struct bpf_line_info` records; empty where no source positions were captured. */
  readonly lineInfo: Uint8Array;
}

/** Builds BTF, func info and line info (kernel 5.0) from the source positions that the instructions carry. */
export function programBtf(assembled: Assembled, text: SourceText): ProgramBtf {
  const byteOrder = assembled.endian;
  const builder = createBtfBuilder({ byteOrder });
  const int = builder.int("int", 4, "signed");
  const u64 = builder.int("unsigned long long", 8, "unsigned");
  const [main] = assembled.functions;
  const funcs: FuncInfo[] = assembled.functions.map((fn) => {
    const proto =
      fn === main ? builder.funcProto(int, [context("ctx")]) : builder.funcProto(u64, paramsOf(fn));
    const isGlobal = fn === main || fn.params !== undefined;
    return {
      insn_off: fn.offset,
      type_id: builder.func(identifier(fn.name), proto, isGlobal ? "global" : "static"),
    };
  });
  const lines = lineRecords(assembled, text, (name) => builder.string(name));
  return {
    btf: builder.encode(),
    funcInfo: encodeFuncInfo(funcs, byteOrder),
    lineInfo: encodeLineInfo(lines, byteOrder),
  };

  /** The kernel recognises the context by the name of its struct. */
  function context(name: string): BtfParam {
    const struct = CONTEXT_STRUCT[assembled.program.type];
    return { name, type: builder.ptr(struct === undefined ? 0 : builder.struct(struct, 0, [])) };
  }

  /** Static functions need no truthful prototype, since the verifier follows each call. */
  function paramsOf({ params = {} }: AssembledFunction): readonly BtfParam[] {
    return Object.entries(params).map(([name, param]) =>
      param === "context" ? context(name) : { name, type: param.btf(builder) },
    );
  }
}

/** One record wherever the line changes. The kernel wants one at the start of each function, at rising offsets. */
function lineRecords(assembled: Assembled, text: SourceText, string: (text: string) => number): LineInfo[] {
  const starts = new Set(assembled.functions.map((fn: AssembledFunction) => fn.offset));
  const records: LineInfo[] = [];
  let last: SourcePosition | undefined;
  for (const { offset, insn } of assembled.lines) {
    const position = insn.source?.position() ?? last;
    if (position === undefined) {
      if (starts.has(offset)) return []; // a function without a record would be refused
      continue;
    }
    const same =
      position.file === last?.file && position.line === last.line && position.column === last.column;
    if (same && !starts.has(offset)) continue;
    last = position;
    records.push({
      insn_off: offset,
      file_name_off: string(text.fileName(position)),
      line_off: string(text.line(position)),
      line: position.line,
      column: position.column,
    });
  }
  return records;
}

/** A program's name as BTF takes it: a C identifier. */
function identifier(name: string): string {
  return name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^(?=\d)/, "_");
}

/** Names of the structs that the kernel knows as contexts (include/linux/bpf_types.h); the others take no pointer to one. */
const CONTEXT_STRUCT: { readonly [Type in ProgTypeName]?: string } = {
  socket_filter: "__sk_buff",
  sched_cls: "__sk_buff",
  sched_act: "__sk_buff",
  xdp: "xdp_md",
  cgroup_skb: "__sk_buff",
  cgroup_sock: "bpf_sock",
  cgroup_sock_addr: "bpf_sock_addr",
  lwt_in: "__sk_buff",
  lwt_out: "__sk_buff",
  lwt_xmit: "__sk_buff",
  lwt_seg6local: "__sk_buff",
  sock_ops: "bpf_sock_ops",
  sk_skb: "__sk_buff",
  sk_msg: "sk_msg_md",
  flow_dissector: "__sk_buff",
  kprobe: "bpf_user_pt_regs_t",
  perf_event: "bpf_perf_event_data",
  raw_tracepoint: "bpf_raw_tracepoint_args",
  raw_tracepoint_writable: "bpf_raw_tracepoint_args",
  cgroup_device: "bpf_cgroup_dev_ctx",
  cgroup_sysctl: "bpf_sysctl",
  cgroup_sockopt: "bpf_sockopt",
  sk_reuseport: "sk_reuseport_md",
  sk_lookup: "bpf_sk_lookup",
  netfilter: "bpf_nf_ctx",
};
