import type { Layout } from "../btf/layout/index.ts";
import type { bpf_attach_type, bpf_prog_type } from "../uapi/bpf.ts";
import type { HelpersByProgType } from "../uapi/helpers.ts";
import { AssembleError } from "./errors.ts";
import type { Insn } from "./insn.ts";
import { checkObjectName } from "./map-def.ts";
import type { Misuse } from "./misuse.ts";

/** Name of a program type: that of the kernel, in lower case without `BPF_PROG_TYPE_`. */
export type ProgTypeName = keyof typeof bpf_prog_type extends `BPF_PROG_TYPE_${infer Name}`
  ? Exclude<Lowercase<Name>, "unspec">
  : never;

/** Name of an attach type: that of the kernel, in lower case without `BPF_`, as in `xdp_cpumap`. */
export type AttachTypeName = keyof typeof bpf_attach_type extends `BPF_${infer Name}`
  ? Lowercase<Name>
  : `${never}`;

/** A run of instructions with a name that jumps can go to. */
export interface Block {
  readonly name: string;
  readonly insns: readonly Insn[];
}

/** Blocks by name, in fall-through order. The first one is where the function starts. */
export type Blocks = { readonly [name: string]: readonly Insn[] };

/** A program: a value that can be assembled, listed, tested and loaded. */
export interface Program<Type extends ProgTypeName = ProgTypeName> {
  readonly kind: "program";
  readonly type: Type;
  /** At most 15 characters of `[A-Za-z0-9_.]`, as the kernel asks. */
  readonly name: string;
  /** Licence as the kernel reads it: GPL-only helpers need a GPL-compatible one. */
  readonly license: string;
  /** Where it is meant to be attached, for the program types that are checked for it at load. */
  readonly attachType: AttachTypeName | undefined;
  /**
   * What it is loaded for, where it is written for one target: the name of a kernel function, of a tracepoint. The loader's
   * own option goes before.
   */
  readonly attachTo?: string | undefined;
  /** `BPF_F_*` flags of loading, such as `BPF_F_XDP_HAS_FRAGS`. */
  readonly flags: number;
  readonly blocks: readonly Block[];
}

/** A function that programs call; the assembler puts every subprogram that is called behind the program, once. */
export interface Subprogram<Use extends string = string> {
  readonly kind: "subprogram";
  readonly name: string;
  readonly blocks: readonly Block[];
  /** What it takes, where it is a global function. */
  readonly params?: GlobalParams | undefined;
  /** Only for the type checker: the helpers it calls. */
  readonly uses?: Use;
}

/**
 * What a global function takes, in r1 to r5, by name: the program's context; a layout, of a number; `pointer(layout)`, of memory
 * of that size, which may be NULL.
 */
export type GlobalParams = Readonly<Record<string, Layout | "context">>;

/** Options of a subprogram. */
export interface SubprogramOptions {
  /**
   * Makes it a global function (kernel 5.6): the verifier checks it once and by itself, for whatever these parameters may be, and
   * not again with each call. Calls then say nothing about its result, other than that it is a number. Without BTF in the kernel
   * it is checked with each call, as other subprograms are.
   */
  readonly global?: GlobalParams;
}

/** Options of a program. */
export interface ProgramOptions {
  /** Default `GPL`, which every helper accepts. */
  readonly license?: string;
  readonly attachType?: AttachTypeName;
  /** What it is loaded for, if it is written for one target: see `AttachTo` of `tsbpf/kernel`. */
  readonly attachTo?: string;
  /** Default none. */
  readonly flags?: number;
}

/** Makes a compile-time error, with a sentence, of a block that jumps nowhere or calls what it may not. */
export type CheckBlock<Insns, Names, Type extends ProgTypeName | undefined> = [
  Exclude<LabelsOf<Insns>, Names>,
] extends [never]
  ? Type extends keyof HelpersByProgType
    ? [Exclude<HelpersIn<Insns>, HelpersByProgType[Type]>] extends [never]
      ? unknown
      : Misuse<`${Exclude<HelpersIn<Insns>, HelpersByProgType[Type]> & string} may not be called from a program of type ${Type}`>
    : unknown
  : Misuse<`no block of this program is named '${Exclude<LabelsOf<Insns>, Names> & string}'`>;

/** {@link CheckBlock} for every block. */
export type CheckBlocks<B, Type extends ProgTypeName | undefined> = {
  readonly [Name in keyof B]: CheckBlock<B[Name], keyof B, Type>;
};

/** Names of the helpers that a set of blocks calls. */
export type HelpersInBlocks<B> = { readonly [Name in keyof B]: HelpersIn<B[Name]> }[keyof B];

type LabelsOf<Insns> = Insns extends readonly (infer I)[]
  ? I extends Insn<infer L, string>
    ? L
    : never
  : never;
type HelpersIn<Insns> = Insns extends readonly (infer I)[]
  ? I extends Insn<string, infer U>
    ? U
    : never
  : never;

/**
 * Builds a program of any type.
 *
 * The first block is the entry; a block that does not end in a jump or an exit falls through into the next one. A jump to
 * a block that does not exist, and a helper that the program type may not call, do not compile.
 *
 * @throws AssembleError when a name is not one that the kernel takes.
 * @example
 * ```ts
 * const pass = program("xdp", "pass_all", { entry: [mov32(r0, XDP_PASS), exit()] });
 * ```
 */
export function program<const Type extends ProgTypeName, B extends Blocks>(
  type: Type,
  name: string,
  blocks: B & CheckBlocks<B, Type>,
  options: ProgramOptions = {},
): Program<Type> {
  checkObjectName("program", name);
  const { license = "GPL", attachType, attachTo, flags = 0 } = options;
  return Object.freeze({
    kind: "program",
    type,
    name,
    license,
    attachType,
    ...(attachTo === undefined ? {} : { attachTo }),
    flags,
    blocks: blockList(name, blocks),
  });
}

/** Builds an XDP program: `r1` is `struct xdp_md *`, the result one of `XDP_*`. */
export function xdp<B extends Blocks>(
  name: string,
  blocks: B & CheckBlocks<B, "xdp">,
  options?: ProgramOptions,
): Program<"xdp"> {
  return program("xdp", name, blocks as Blocks as B & CheckBlocks<B, "xdp">, options);
}

/** Builds a TC classifier: `r1` is `struct __sk_buff *`, the result one of `TC_ACT_*`. */
export function schedCls<B extends Blocks>(
  name: string,
  blocks: B & CheckBlocks<B, "sched_cls">,
  options?: ProgramOptions,
): Program<"sched_cls"> {
  return program("sched_cls", name, blocks as Blocks as B & CheckBlocks<B, "sched_cls">, options);
}

/**
 * Builds a function for programs to call: arguments in r1 to r5, the result in r0, its own 512 bytes of stack.
 *
 * @throws AssembleError when the name is not one that BTF takes, or a global function has more than five parameters.
 * @example
 * ```ts
 * const half = subprogram("half", { entry: [mov32(r0, r1), rsh32(r0, 1), exit()] }, { global: { value: u32 } });
 * const drop = xdp("drop_half", { entry: [mov32(r1, XDP_TX), call(half), exit()] });
 * ```
 */
export function subprogram<B extends Blocks>(
  name: string,
  blocks: B & CheckBlocks<B, undefined>,
  options: SubprogramOptions = {},
): Subprogram<HelpersInBlocks<B>> {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) {
    throw new AssembleError(`'${name}' is not a name for a subprogram`, {}, "Write it as a C identifier.");
  }
  const params = options.global && Object.freeze({ ...options.global });
  if (params !== undefined && Object.keys(params).length > 5) {
    throw new AssembleError(
      `the global function '${name}' has more than five parameters`,
      {},
      "There are r1 to r5.",
    );
  }
  return Object.freeze({ kind: "subprogram", name, blocks: blockList(name, blocks), params });
}

function blockList(program: string, blocks: Blocks): readonly Block[] {
  const names = Object.keys(blocks);
  for (const name of names) {
    // JavaScript puts keys that look like array indexes first, whatever their order in the source.
    if (/^\d+$/.test(name)) {
      throw new AssembleError(
        `program '${program}': a block cannot be named '${name}'`,
        {},
        "Begin the name with a letter: order is fall-through.",
      );
    }
  }
  return Object.freeze(
    names.map((name) => Object.freeze({ name, insns: Object.freeze([...(blocks[name] ?? [])]) })),
  );
}
