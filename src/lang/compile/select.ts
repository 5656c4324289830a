import type { InsnFields } from "../../asm/insn.ts";
import type { SourceRef } from "../../asm/source-position.ts";
import * as bpf from "../../uapi/bpf.ts";
import type {
  AtomicOp,
  BinaryOp,
  CompareOp,
  IrAddress,
  IrBinary,
  IrBlock,
  IrCall,
  IrEnd,
  IrFunction,
  IrNode,
  IrPhi,
  IrTarget,
  IrUnary,
  IrValue,
} from "../ir/ir.ts";
import { loopDepths } from "./cfg.ts";
import { FIRST_VIRTUAL, FRAME, type MachineBlock, type MachineInsn, type Reg } from "./machine.ts";
import { countUses } from "./operands.ts";

/** Chooses instructions for a function in single assignments. Registers are virtual, but for those that calls fix. */
export function select(
  fn: IrFunction,
  target: IrTarget,
): { readonly blocks: MachineBlock[]; readonly registers: number } {
  const depths = loopDepths(fn.blocks);
  const regs = new Map<IrValue, Reg>();
  let next: Reg = FIRST_VIRTUAL;
  const fresh = (): Reg => next++;
  const uses = countUses(fn);
  const blocks = new Map<IrBlock, MachineBlock>();
  for (const block of fn.blocks) {
    blocks.set(block, { hint: block.hint, insns: [], next: undefined, depth: depths.get(block) ?? 0 });
  }
  const edges: MachineBlock[] = [];
  const regOf = (value: IrValue): Reg => {
    let reg = regs.get(value);
    if (reg === undefined) {
      reg = fresh();
      regs.set(value, reg);
    }
    return reg;
  };

  for (const block of fn.blocks) {
    const out = blocks.get(block) as MachineBlock;
    if (block === fn.blocks[0]) {
      for (const param of fn.params)
        if ((uses.get(param) ?? 0) > 0) copy(out, regOf(param), param.index + 1, undefined);
    }
    for (const node of block.nodes) if (node.kind !== "phi") selectNode(out, node);
    selectEnd(block, out);
  }
  return { blocks: [...[...blocks.values()], ...edges], registers: next };

  function push(
    out: MachineBlock,
    fields: Omit<InsnFields, "dst_reg" | "src_reg">,
    parts: Partial<Pick<MachineInsn, "dst" | "src" | "fixedSrc" | "to" | "slot" | "fn">> & {
      readonly uses?: Reg[];
      readonly defs?: Reg[];
      readonly source: SourceRef | undefined;
    },
  ): void {
    const { uses: used = [], defs = [], dst, src, ...rest } = parts;
    out.insns.push({ fields, dst, src, uses: used, defs, copy: false, ...rest });
  }

  function copy(out: MachineBlock, to: Reg, from: Reg, source: SourceRef | undefined): void {
    const fields = { code: bpf.BPF_ALU64 | bpf.BPF_MOV | bpf.BPF_X };
    out.insns.push({ fields, dst: to, src: from, uses: [from], defs: [to], copy: true, source });
  }

  /** Puts a value into a register: a new one for what is computed where it is used, or the given one. */
  function into(out: MachineBlock, value: IrValue, to: Reg, source: SourceRef | undefined): void {
    switch (value.kind) {
      case "const": {
        const signed = BigInt.asIntN(64, value.value);
        if (value.value <= 0xffff_ffffn) {
          const imm = Number(BigInt.asIntN(32, value.value));
          push(out, { code: bpf.BPF_ALU | bpf.BPF_MOV, imm }, { dst: to, defs: [to], source });
          return;
        }
        if (signed >= -0x8000_0000n && signed < 0n) {
          push(
            out,
            { code: bpf.BPF_ALU64 | bpf.BPF_MOV, imm: Number(signed) },
            { dst: to, defs: [to], source },
          );
          return;
        }
        const imm = Number(BigInt.asIntN(32, value.value));
        const next_imm = Number(BigInt.asIntN(32, value.value >> 32n));
        const code = bpf.BPF_LD | bpf.BPF_IMM | bpf.BPF_DW;
        push(out, { code, imm, next_imm }, { dst: to, defs: [to], source });
        return;
      }
      case "frame":
        copy(out, to, FRAME, source);
        push(
          out,
          { code: bpf.BPF_ALU64 | bpf.BPF_ADD, imm: value.offset },
          { dst: to, uses: [to], defs: [to], slot: value.slot, source },
        );
        return;
      case "address":
        loadAddress(out, value, to, source);
        return;
      default:
        copy(out, to, regOf(value), source);
        return;
    }
  }

  function loadAddress(
    out: MachineBlock,
    { target: to }: IrAddress,
    dst: Reg,
    source: SourceRef | undefined,
  ): void {
    const code = bpf.BPF_LD | bpf.BPF_IMM | bpf.BPF_DW;
    if (to.kind === "function") {
      const fields = { code, imm: 0, next_imm: 0 };
      push(out, fields, { dst, defs: [dst], fixedSrc: bpf.BPF_PSEUDO_FUNC, fn: to.fn, source });
      return;
    }
    const { pseudo, imm, next_imm, ref } = to;
    push(out, ref === undefined ? { code, imm, next_imm } : { code, imm, next_imm, ref }, {
      dst,
      defs: [dst],
      fixedSrc: pseudo,
      source,
    });
  }

  /** The register that holds a value, which may be computed for this use only. */
  function reg(out: MachineBlock, value: IrValue, source: SourceRef | undefined): Reg {
    if (value.kind !== "const" && value.kind !== "frame" && value.kind !== "address") return regOf(value);
    const to = fresh();
    into(out, value, to, source);
    return to;
  }

  /** A constant as an instruction of this width takes it, or `undefined`. */
  function immediate(value: IrValue, width: 32 | 64): number | undefined {
    if (value.kind !== "const") return undefined;
    if (width === 32) return Number(BigInt.asIntN(32, value.value));
    const signed = BigInt.asIntN(64, value.value);
    return signed >= -0x8000_0000n && signed <= 0x7fff_ffffn ? Number(signed) : undefined;
  }

  function selectNode(out: MachineBlock, node: IrNode): void {
    const { source } = node;
    switch (node.kind) {
      case "binary":
        selectBinary(out, node);
        return;
      case "unary":
        selectUnary(out, node);
        return;
      case "load": {
        const dst = regOf(node);
        const [base, slot] = memory(out, node.base, source);
        const code = bpf.BPF_LDX | (node.signed ? bpf.BPF_MEMSX : bpf.BPF_MEM) | SIZES[node.size];
        push(out, { code, off: node.offset }, { dst, src: base, uses: [base], defs: [dst], ...slot, source });
        return;
      }
      case "store": {
        const [base, slot] = memory(out, node.base, source);
        const imm = node.value.kind === "const" ? storable(node.value.value, node.size) : undefined;
        if (imm !== undefined) {
          const code = bpf.BPF_ST | bpf.BPF_MEM | SIZES[node.size];
          push(out, { code, off: node.offset, imm }, { dst: base, uses: [base], ...slot, source });
          return;
        }
        const value = reg(out, node.value, source);
        const code = bpf.BPF_STX | bpf.BPF_MEM | SIZES[node.size];
        push(
          out,
          { code, off: node.offset },
          { dst: base, src: value, uses: [base, value], ...slot, source },
        );
        return;
      }
      case "atomic": {
        const [base, slot] = memory(out, node.base, source);
        const code = bpf.BPF_STX | bpf.BPF_ATOMIC | SIZES[node.size];
        const fields = { code, off: node.offset, imm: ATOMICS[node.op] };
        if (node.op === "cmpxchg") {
          const value = reg(out, node.value, source);
          if (node.expected !== undefined) into(out, node.expected, 0, source);
          push(out, fields, { dst: base, src: value, uses: [base, value, 0], defs: [0], ...slot, source });
          copy(out, regOf(node), 0, source);
          return;
        }
        if (node.op === "xchg" || node.op.startsWith("fetch_")) {
          const value = regOf(node);
          into(out, node.value, value, source);
          push(out, fields, {
            dst: base,
            src: value,
            uses: [base, value],
            defs: [value],
            ...slot,
            source,
          });
          return;
        }
        const value = reg(out, node.value, source);
        push(out, fields, { dst: base, src: value, uses: [base, value], ...slot, source });
        return;
      }
      case "call":
        selectCall(out, node);
        return;
      default:
        return;
    }
  }

  /** The base register of an access; r10 with the object for the stack frame's. */
  function memory(
    out: MachineBlock,
    base: IrValue,
    source: SourceRef | undefined,
  ): [Reg, Partial<Pick<MachineInsn, "slot">>] {
    return base.kind === "frame" ? [FRAME, { slot: base.slot }] : [reg(out, base, source), {}];
  }

  function selectBinary(out: MachineBlock, node: IrBinary): void {
    const { op, width, source } = node;
    const dst = regOf(node);
    const alu = width === 64 ? bpf.BPF_ALU64 : bpf.BPF_ALU;
    const { code, off } = BINARY[op];
    const shift = op === "lsh" || op === "rsh" || op === "arsh";
    let imm = immediate(node.b, width);
    if (imm !== undefined && shift) imm &= width - 1;
    if (imm === 0 && (op === "div" || op === "mod" || op === "sdiv" || op === "smod")) imm = undefined;
    let { a, b } = node;
    // A copy less where the left side lives on and the right one ends here.
    if (
      imm === undefined &&
      COMMUTES.has(op) &&
      a.pointer === undefined &&
      uses.get(b) === 1 &&
      uses.get(a) !== 1 &&
      !(a.kind === "phi" && a.inputs.some(({ value }) => value === node)) // `sum += x` in a loop
    ) {
      [a, b] = [b, a];
    }
    const right = imm === undefined ? reg(out, b, source) : undefined;
    into(out, a, dst, source);
    if (right === undefined) {
      push(
        out,
        { code: alu | code | bpf.BPF_K, off, imm: imm as number },
        { dst, uses: [dst], defs: [dst], source },
      );
    } else {
      push(
        out,
        { code: alu | code | bpf.BPF_X, off },
        { dst, src: right, uses: [dst, right], defs: [dst], source },
      );
    }
  }

  function selectUnary(out: MachineBlock, node: IrUnary): void {
    const { op, width, source } = node;
    const dst = regOf(node);
    const alu = width === 64 ? bpf.BPF_ALU64 : bpf.BPF_ALU;
    if (op === "zext32") {
      const src = reg(out, node.a, source);
      push(
        out,
        { code: bpf.BPF_ALU | bpf.BPF_MOV | bpf.BPF_X },
        { dst, src, uses: [src], defs: [dst], source },
      );
      return;
    }
    if (op.startsWith("sext")) {
      const bits = Number(op.slice(4));
      if (target.isa >= 4) {
        const src = reg(out, node.a, source);
        const code = alu | bpf.BPF_MOV | bpf.BPF_X;
        push(out, { code, off: bits }, { dst, src, uses: [src], defs: [dst], source });
        return;
      }
      into(out, node.a, dst, source);
      for (const shift of [bpf.BPF_LSH, bpf.BPF_ARSH]) {
        push(out, { code: alu | shift, imm: width - bits }, { dst, uses: [dst], defs: [dst], source });
      }
      return;
    }
    into(out, node.a, dst, source);
    if (op === "neg") {
      push(out, { code: alu | bpf.BPF_NEG }, { dst, uses: [dst], defs: [dst], source });
      return;
    }
    const to = op.startsWith("be") ? bpf.BPF_TO_BE : bpf.BPF_TO_LE;
    const code = bpf.BPF_ALU | bpf.BPF_END | to;
    push(out, { code, imm: Number(op.slice(2)) }, { dst, uses: [dst], defs: [dst], source });
  }

  function selectCall(out: MachineBlock, node: IrCall): void {
    const { callee, source } = node;
    const args = node.args.map((_, index) => index + 1);
    for (const [index, arg] of node.args.entries()) into(out, arg, index + 1, source);
    const code = bpf.BPF_JMP | bpf.BPF_CALL;
    const parts = { uses: args, defs: [0, 1, 2, 3, 4, 5], source };
    if (callee.kind === "helper") {
      const { helper } = callee;
      push(out, { code, imm: helper.id, ref: { kind: "helper", helper } }, { ...parts, fixedSrc: 0 });
    } else if (callee.kind === "kfunc") {
      const ref = { kind: "kfunc", name: callee.name } as const;
      push(out, { code, ref }, { ...parts, fixedSrc: bpf.BPF_PSEUDO_KFUNC_CALL });
    } else {
      push(out, { code, imm: -1 }, { ...parts, fixedSrc: bpf.BPF_PSEUDO_CALL, fn: callee.fn });
    }
    if ((uses.get(node) ?? 0) > 0) copy(out, regOf(node), 0, source);
  }

  function selectEnd(block: IrBlock, out: MachineBlock): void {
    const end = block.end as IrEnd;
    const { source } = end;
    switch (end.kind) {
      case "return":
        into(out, end.value, 0, source);
        push(out, { code: bpf.BPF_JMP | bpf.BPF_EXIT }, { uses: [0], source });
        return;
      case "jump":
        copyPhis(block, end.to, out);
        out.next = blocks.get(end.to);
        return;
      case "may_goto": {
        const to = edgeTo(block, end.out);
        push(out, { code: bpf.BPF_JMP | bpf.BPF_JCOND }, { to, source });
        out.next = edgeTo(block, end.next);
        return;
      }
      case "branch": {
        const wide = end.width === 64 ? bpf.BPF_JMP : bpf.BPF_JMP32;
        const negative = end.op === "nset";
        const op = end.op === "nset" ? "set" : end.op;
        const [then, otherwise] = negative ? [end.no, end.yes] : [end.yes, end.no];
        const left = reg(out, end.a, source);
        const imm = immediate(end.b, end.width);
        const right = imm === undefined ? reg(out, end.b, source) : undefined;
        const to = edgeTo(block, then);
        const code = wide | COMPARES[op];
        if (right === undefined) {
          push(out, { code: code | bpf.BPF_K, imm: imm as number }, { dst: left, uses: [left], to, source });
        } else {
          push(out, { code: code | bpf.BPF_X }, { dst: left, src: right, uses: [left, right], to, source });
        }
        out.next = edgeTo(block, otherwise);
      }
    }
  }

  /** The block for a way out of a branch: one of its own where the target's phis need copies. */
  function edgeTo(from: IrBlock, to: IrBlock): MachineBlock {
    const plain = blocks.get(to) as MachineBlock;
    if (to.nodes[0]?.kind !== "phi") return plain;
    const depth = Math.min(depths.get(from) ?? 0, depths.get(to) ?? 0);
    const edge: MachineBlock = { hint: `to_${to.hint}`, insns: [], next: plain, depth };
    copyPhis(from, to, edge);
    if (edge.insns.length === 0) return plain;
    edges.push(edge);
    return edge;
  }

  /** Copies what a block gives to the phis of the next, all at once. */
  function copyPhis(from: IrBlock, to: IrBlock, out: MachineBlock): void {
    const moves: { phi: IrPhi; value: IrValue }[] = [];
    for (const node of to.nodes) {
      if (node.kind !== "phi") break;
      const input = node.inputs.find((one) => one.from === from);
      if (input !== undefined && input.value !== node) moves.push({ phi: node, value: input.value });
    }
    // A phi that another one reads is read before it is written: through registers of their own, which mostly go away.
    const overwritten = new Set<IrValue>(moves.map(({ phi }) => phi));
    const staged = moves.map(({ phi, value }) => {
      if (!overwritten.has(value)) return { phi, value, temporary: undefined };
      const temporary = fresh();
      copy(out, temporary, regOf(value), phi.source);
      return { phi, value, temporary };
    });
    for (const { phi, value, temporary } of staged) {
      if (temporary === undefined) into(out, value, regOf(phi), phi.source);
      else copy(out, regOf(phi), temporary, phi.source);
    }
  }
}

/** A constant as a store instruction takes it: 8-byte stores extend 32 bits by their sign. */
function storable(value: bigint, size: 1 | 2 | 4 | 8): number | undefined {
  if (size < 8) return Number(BigInt.asIntN(32, BigInt.asUintN(size * 8, value)));
  const signed = BigInt.asIntN(64, value);
  return signed >= -0x8000_0000n && signed <= 0x7fff_ffffn ? Number(signed) : undefined;
}

const COMMUTES: ReadonlySet<BinaryOp> = new Set(["add", "mul", "and", "or", "xor"]);

const SIZES = { 1: bpf.BPF_B, 2: bpf.BPF_H, 4: bpf.BPF_W, 8: bpf.BPF_DW } as const;

const BINARY: Readonly<Record<BinaryOp, { readonly code: number; readonly off: number }>> = {
  add: { code: bpf.BPF_ADD, off: 0 },
  sub: { code: bpf.BPF_SUB, off: 0 },
  mul: { code: bpf.BPF_MUL, off: 0 },
  div: { code: bpf.BPF_DIV, off: 0 },
  mod: { code: bpf.BPF_MOD, off: 0 },
  sdiv: { code: bpf.BPF_DIV, off: 1 },
  smod: { code: bpf.BPF_MOD, off: 1 },
  or: { code: bpf.BPF_OR, off: 0 },
  and: { code: bpf.BPF_AND, off: 0 },
  xor: { code: bpf.BPF_XOR, off: 0 },
  lsh: { code: bpf.BPF_LSH, off: 0 },
  rsh: { code: bpf.BPF_RSH, off: 0 },
  arsh: { code: bpf.BPF_ARSH, off: 0 },
};

const COMPARES: Readonly<Record<Exclude<CompareOp, "nset">, number>> = {
  eq: bpf.BPF_JEQ,
  ne: bpf.BPF_JNE,
  gt: bpf.BPF_JGT,
  ge: bpf.BPF_JGE,
  lt: bpf.BPF_JLT,
  le: bpf.BPF_JLE,
  sgt: bpf.BPF_JSGT,
  sge: bpf.BPF_JSGE,
  slt: bpf.BPF_JSLT,
  sle: bpf.BPF_JSLE,
  set: bpf.BPF_JSET,
};

const ATOMICS: Readonly<Record<AtomicOp, number>> = {
  add: bpf.BPF_ADD,
  or: bpf.BPF_OR,
  and: bpf.BPF_AND,
  xor: bpf.BPF_XOR,
  fetch_add: bpf.BPF_ADD | bpf.BPF_FETCH,
  fetch_or: bpf.BPF_OR | bpf.BPF_FETCH,
  fetch_and: bpf.BPF_AND | bpf.BPF_FETCH,
  fetch_xor: bpf.BPF_XOR | bpf.BPF_FETCH,
  xchg: bpf.BPF_XCHG,
  cmpxchg: bpf.BPF_CMPXCHG,
};
