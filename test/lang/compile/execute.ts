import type { Block } from "../../../src/asm/program.ts";
import * as bpf from "../../../src/uapi/bpf.ts";
import type { Outcome } from "./interpret.ts";
import { evaluate, evaluateUnary, holds } from "./reference-arithmetic.ts";
import { isPointer, Memory, type Pointer, readBytes, type Value, writeBytes } from "./values.ts";

/**
 * Runs the instructions of an XDP program on a packet, and is as strict as the verifier about what it can see: registers
 * and stack that were never written, registers that a call has spoilt, arithmetic on pointers, pointers that are stored
 * with less than 8 bytes. Helpers give 0.
 *
 * @throws Error for what a program may not do.
 */
export function execute(blocks: readonly Block[], input: Uint8Array): Outcome {
  const packet = new Memory("packet", input.slice());
  const stack = new Memory("stack", new Uint8Array(512));
  const written = new Uint8Array(512);
  const spilled = new Map<number, Value>();
  const registers: (Value | undefined)[] = new Array(11);
  registers[1] = "ctx";
  registers[10] = { memory: stack, at: 512 };
  const read = (index: number): Value => {
    const value = registers[index];
    if (value === undefined) throw new Error(`r${index} is read and holds nothing`);
    return value;
  };
  const number = (index: number): bigint => {
    const value = read(index);
    if (typeof value !== "bigint") throw new Error(`r${index} is a pointer, and used as a number`);
    return value;
  };
  const place = (index: number, off: number): Pointer => {
    const value = read(index);
    if (!isPointer(value)) throw new Error(`r${index} is no pointer, and used as one`);
    return { memory: value.memory, at: value.at + off };
  };
  const load = (at: Pointer, size: number): Value => {
    if (at.memory !== stack) return readBytes(at, size);
    const pointer = spilled.get(at.at);
    if (pointer !== undefined && size === 8) return pointer;
    for (let byte = at.at; byte < at.at + size; byte++) {
      if (written[byte] !== 1) throw new Error(`stack byte ${byte - 512} is read and was never written`);
    }
    return readBytes(at, size);
  };
  const store = (at: Pointer, size: number, value: Value): void => {
    if (at.memory === stack) {
      for (const slot of [...spilled.keys()])
        if (slot < at.at + size && at.at < slot + 8) spilled.delete(slot);
      written.fill(1, at.at, at.at + size);
      if (typeof value !== "bigint") {
        if (size !== 8 || at.at % 8 !== 0) throw new Error("a pointer is spilled with less than 8 bytes");
        spilled.set(at.at, value);
        return;
      }
    }
    if (typeof value !== "bigint") throw new Error("a pointer is stored outside the stack");
    writeBytes(at, size, value);
  };
  const places = new Map(blocks.map(({ name }, index) => [name, index]));
  let block = 0;
  let index = 0;
  for (let steps = 0; ; steps++) {
    if (steps > 200_000) throw new Error("it does not end");
    const insn = blocks[block]?.insns[index];
    if (insn === undefined) {
      if (block + 1 >= blocks.length) throw new Error("it runs off its end");
      block++;
      index = 0;
      continue;
    }
    index++;
    const { code, dst_reg: dst, src_reg: src, off, imm, ref } = insn;
    const kind = code & 7;
    switch (kind) {
      case bpf.BPF_ALU:
      case bpf.BPF_ALU64: {
        const width = kind === bpf.BPF_ALU64 ? 64 : 32;
        const op = code & 0xf0;
        if (op === bpf.BPF_END) {
          const order = (code & bpf.BPF_X) === bpf.BPF_TO_BE || width === 64 ? "be" : "le";
          registers[dst] = evaluateUnary(`${order}${imm}` as "be16", 64, number(dst));
          break;
        }
        if (op === bpf.BPF_NEG) {
          registers[dst] = evaluateUnary("neg", width, number(dst));
          break;
        }
        const immediate = BigInt.asUintN(64, BigInt(imm));
        if (op === bpf.BPF_MOV) {
          if ((code & bpf.BPF_X) === 0) registers[dst] = BigInt.asUintN(width, immediate);
          else if (off !== 0) registers[dst] = evaluateUnary(`sext${off}` as "sext8", width, number(src));
          else registers[dst] = width === 64 ? read(src) : BigInt.asUintN(32, number(src));
          break;
        }
        const left = read(dst);
        const right = (code & bpf.BPF_X) === 0 ? immediate : number(src);
        if (isPointer(left)) {
          if (width !== 64 || (op !== bpf.BPF_ADD && op !== bpf.BPF_SUB)) {
            throw new Error("arithmetic on a pointer that is no 64-bit + or -");
          }
          const by = Number(BigInt.asIntN(64, right));
          registers[dst] = { memory: left.memory, at: left.at + (op === bpf.BPF_ADD ? by : -by) };
          break;
        }
        if (typeof left !== "bigint") throw new Error("arithmetic on the context");
        const shift = op === bpf.BPF_LSH || op === bpf.BPF_RSH || op === bpf.BPF_ARSH;
        if (shift && (code & bpf.BPF_X) === 0 && (imm < 0 || imm >= width))
          throw new Error(`shift by ${imm}`);
        const divides = op === bpf.BPF_DIV || op === bpf.BPF_MOD;
        if (divides && (code & bpf.BPF_X) === 0 && imm === 0) throw new Error("division by the constant 0");
        const name = `${divides && off === 1 ? "s" : ""}${OPS.get(op)}` as "add";
        registers[dst] = evaluate(name, width, left, right);
        break;
      }
      case bpf.BPF_LD:
        registers[dst] =
          (BigInt.asUintN(32, BigInt(insn.next_imm ?? 0)) << 32n) | BigInt.asUintN(32, BigInt(imm));
        break;
      case bpf.BPF_LDX: {
        if (read(src) === "ctx") {
          registers[dst] = { memory: packet, at: off === 0 ? 0 : packet.bytes.length };
          break;
        }
        const size = SIZES.get(code & 0x18) as number;
        const value = load(place(src, off), size);
        const extends_ = (code & 0xe0) === bpf.BPF_MEMSX;
        registers[dst] =
          extends_ && typeof value === "bigint" ? BigInt.asUintN(64, BigInt.asIntN(size * 8, value)) : value;
        break;
      }
      case bpf.BPF_ST:
        store(place(dst, off), SIZES.get(code & 0x18) as number, BigInt.asUintN(64, BigInt(imm)));
        break;
      case bpf.BPF_STX: {
        const at = place(dst, off);
        const size = SIZES.get(code & 0x18) as number;
        if ((code & 0xe0) !== bpf.BPF_ATOMIC) {
          store(at, size, read(src));
          break;
        }
        const old = load(at, size);
        if (typeof old !== "bigint") throw new Error("an atomic operation on a pointer");
        const width = size === 8 ? 64 : 32;
        if (imm === bpf.BPF_CMPXCHG) {
          const expected = BigInt.asUintN(width, number(0));
          if (old === expected) store(at, size, number(src));
          registers[0] = old;
        } else if (imm === bpf.BPF_XCHG) {
          store(at, size, number(src));
          registers[src] = old;
        } else {
          store(at, size, evaluate(OPS.get(imm & 0xf0) as "add", width, old, number(src)));
          if ((imm & bpf.BPF_FETCH) !== 0) registers[src] = old;
        }
        break;
      }
      default: {
        const op = code & 0xf0;
        if (op === bpf.BPF_EXIT) return { result: BigInt.asUintN(32, number(0)), packet: packet.bytes };
        if (op === bpf.BPF_CALL) {
          for (let reg = 1; reg <= 5; reg++) registers[reg] = undefined;
          registers[0] = 0n;
          break;
        }
        if (op !== bpf.BPF_JA) {
          const left = read(dst);
          const right = (code & bpf.BPF_X) === 0 ? BigInt.asUintN(64, BigInt(imm)) : read(src);
          const width = kind === bpf.BPF_JMP ? 64 : 32;
          const name = JUMPS.get(op) as "eq";
          const taken =
            isPointer(left) && isPointer(right)
              ? holds(name, 64, BigInt(left.at), BigInt(right.at))
              : holds(name, width, left as bigint, right as bigint);
          if (!taken) break;
        }
        if (ref?.kind !== "label") throw new Error("a jump to nowhere");
        block = places.get(ref.name) as number;
        index = 0;
      }
    }
  }
}

const SIZES: ReadonlyMap<number, number> = new Map([
  [bpf.BPF_B, 1],
  [bpf.BPF_H, 2],
  [bpf.BPF_W, 4],
  [bpf.BPF_DW, 8],
]);

const OPS: ReadonlyMap<number, string> = new Map([
  [bpf.BPF_ADD, "add"],
  [bpf.BPF_SUB, "sub"],
  [bpf.BPF_MUL, "mul"],
  [bpf.BPF_DIV, "div"],
  [bpf.BPF_MOD, "mod"],
  [bpf.BPF_OR, "or"],
  [bpf.BPF_AND, "and"],
  [bpf.BPF_XOR, "xor"],
  [bpf.BPF_LSH, "lsh"],
  [bpf.BPF_RSH, "rsh"],
  [bpf.BPF_ARSH, "arsh"],
]);

const JUMPS: ReadonlyMap<number, string> = new Map([
  [bpf.BPF_JEQ, "eq"],
  [bpf.BPF_JNE, "ne"],
  [bpf.BPF_JGT, "gt"],
  [bpf.BPF_JGE, "ge"],
  [bpf.BPF_JLT, "lt"],
  [bpf.BPF_JLE, "le"],
  [bpf.BPF_JSGT, "sgt"],
  [bpf.BPF_JSGE, "sge"],
  [bpf.BPF_JSLT, "slt"],
  [bpf.BPF_JSLE, "sle"],
  [bpf.BPF_JSET, "set"],
]);
