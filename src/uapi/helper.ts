/**
 * A kernel helper function that BPF code calls by number (`BPF_CALL` with `src_reg` 0 and `imm` = `id`).
 *
 * The list of helpers is frozen at id 211 since Linux 6.2; newer functions are kfuncs. The constants themselves
 * are in `helpers.ts`.
 */
export interface Helper<Name extends string = string> {
  /** Tells a helper from a kfunc or a subprogram where a call target is expected. */
  readonly kind: "helper";
  /** The kernel's name, with its `bpf_` prefix. */
  readonly name: Name;
  /** The number in `imm`; `enum bpf_func_id`. */
  readonly id: number;
  /** The C prototype as `linux/bpf.h` documents it. */
  readonly signature: string;
  /** True where the verifier refuses the call in a program whose licence is not GPL compatible. */
  readonly gplOnly: boolean;
}
