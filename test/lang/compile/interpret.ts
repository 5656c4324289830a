import type { IrBlock, IrFunction, IrNode, IrValue, IrVar } from "../../../src/lang/ir/ir.ts";
import { evaluate, evaluateUnary, holds } from "./reference-arithmetic.ts";
import { isPointer, Memory, type Pointer, readBytes, type Value, writeBytes } from "./values.ts";

/** What a function did: its result, and the packet afterwards. */
export interface Outcome {
  readonly result: bigint;
  readonly packet: Uint8Array;
}

/**
 * Runs a function of the intermediate representation on a packet, node by node as `ir.ts` describes them: before single
 * assignment, with its variables, and after it, with its phis. The context is a `struct xdp_md`; helpers give 0.
 *
 * @throws Error for what the graph may not do: use a value that is not there yet, leave the packet, never end.
 */
export function interpret(fn: IrFunction, input: Uint8Array): Outcome {
  const packet = new Memory("packet", input.slice());
  const slots = new Map(fn.slots.map((slot) => [slot, new Memory("stack", new Uint8Array(slot.size))]));
  const values = new Map<IrValue, Value>();
  const variables = new Map<IrVar, Value>();
  let steps = 0;

  const contentOf = (value: IrValue): Value => {
    switch (value.kind) {
      case "const":
        return value.value;
      case "param":
        return "ctx";
      case "frame":
        return { memory: slots.get(value.slot) as Memory, at: value.offset };
      default: {
        const known = values.get(value);
        if (known === undefined) throw new Error(`a ${value.kind} is used before it is computed`);
        return known;
      }
    }
  };
  const numberOf = (value: IrValue): bigint => {
    const content = contentOf(value);
    if (typeof content !== "bigint") throw new Error("a pointer is used as a number");
    return content;
  };
  const placeOf = (base: IrValue, offset: number): Pointer => {
    const pointer = contentOf(base);
    if (!isPointer(pointer)) throw new Error("access through what is no pointer");
    return { memory: pointer.memory, at: pointer.at + offset };
  };

  const run = (node: IrNode): Value | undefined => {
    switch (node.kind) {
      case "binary": {
        const a = contentOf(node.a);
        if (isPointer(a)) {
          const by = Number(BigInt.asIntN(64, numberOf(node.b)));
          return { memory: a.memory, at: node.op === "add" ? a.at + by : a.at - by };
        }
        return evaluate(node.op, node.width, numberOf(node.a), numberOf(node.b));
      }
      case "unary":
        return evaluateUnary(node.op, node.width, numberOf(node.a));
      case "load": {
        if (contentOf(node.base) === "ctx")
          return { memory: packet, at: node.offset === 0 ? 0 : packet.bytes.length };
        const read = readBytes(placeOf(node.base, node.offset), node.size);
        return node.signed ? BigInt.asUintN(64, BigInt.asIntN(node.size * 8, read)) : read;
      }
      case "store":
        writeBytes(placeOf(node.base, node.offset), node.size, numberOf(node.value));
        return undefined;
      case "atomic": {
        const place = placeOf(node.base, node.offset);
        const old = readBytes(place, node.size);
        const op = node.op.replace("fetch_", "");
        const width = node.size === 8 ? 64 : 32;
        const by = numberOf(node.value);
        if (op === "cmpxchg") {
          const expected = BigInt.asUintN(width, numberOf(node.expected as IrValue));
          if (old === expected) writeBytes(place, node.size, by);
        } else {
          const stored = op === "xchg" ? by : evaluate(op as "add", width, old, by);
          writeBytes(place, node.size, stored);
        }
        return old;
      }
      case "call":
        for (const arg of node.args) contentOf(arg);
        return 0n;
      case "get": {
        const content = variables.get(node.variable);
        if (content === undefined) throw new Error(`'${node.variable.name}' is read and never set`);
        return content;
      }
      case "set":
        variables.set(node.variable, contentOf(node.value));
        return undefined;
      default:
        return contentOf(node);
    }
  };

  let from: IrBlock | undefined;
  let block = fn.blocks[0] as IrBlock;
  for (;;) {
    if (++steps > 100_000) throw new Error("it does not end");
    const phis = block.nodes.filter((node) => node.kind === "phi");
    const inputs = phis.map((phi) => {
      const input = phi.inputs.find((one) => one.from === from);
      if (input === undefined) throw new Error("a phi has no input for where control came from");
      return contentOf(input.value);
    });
    for (const [index, phi] of phis.entries()) values.set(phi, inputs[index] as Value);
    for (const node of block.nodes) {
      if (node.kind === "phi") continue;
      const value = run(node);
      if (value !== undefined) values.set(node as IrValue, value);
    }
    const { end } = block;
    from = block;
    switch (end?.kind) {
      case "jump":
        block = end.to;
        break;
      case "branch": {
        const [a, b] = [contentOf(end.a), contentOf(end.b)];
        const taken =
          isPointer(a) && isPointer(b)
            ? holds(end.op, 64, BigInt(a.at), BigInt(b.at))
            : holds(end.op, end.width, numberOf(end.a), numberOf(end.b));
        block = taken ? end.yes : end.no;
        break;
      }
      case "may_goto":
        block = end.next;
        break;
      case "return":
        return { result: BigInt.asUintN(32, numberOf(end.value)), packet: packet.bytes };
      default:
        throw new Error(`block '${block.hint}' has no end`);
    }
  }
}
