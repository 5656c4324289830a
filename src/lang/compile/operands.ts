import type { IrBlock, IrFunction, IrNode, IrValue } from "../ir/ir.ts";

/** The values that a node uses. */
export function operands(node: IrNode): readonly IrValue[] {
  switch (node.kind) {
    case "binary":
      return [node.a, node.b];
    case "unary":
      return [node.a];
    case "load":
      return [node.base];
    case "store":
      return [node.base, node.value];
    case "atomic":
      return node.expected === undefined ? [node.base, node.value] : [node.base, node.value, node.expected];
    case "call":
      return node.args;
    case "set":
      return [node.value];
    case "phi":
      return node.inputs.map(({ value }) => value);
    default:
      return [];
  }
}

/** Replaces the values that a node uses. */
export function mapOperands(node: IrNode, map: (value: IrValue) => IrValue): void {
  switch (node.kind) {
    case "binary":
      node.a = map(node.a);
      node.b = map(node.b);
      return;
    case "unary":
      node.a = map(node.a);
      return;
    case "load":
      node.base = map(node.base);
      return;
    case "store":
      node.base = map(node.base);
      node.value = map(node.value);
      return;
    case "atomic":
      node.base = map(node.base);
      node.value = map(node.value);
      if (node.expected !== undefined) node.expected = map(node.expected);
      return;
    case "call":
      for (const [index, arg] of node.args.entries()) node.args[index] = map(arg);
      return;
    case "set":
      node.value = map(node.value);
      return;
    case "phi":
      node.inputs = node.inputs.map(({ from, value }) => ({ from, value: map(value) }));
  }
}

/** The values that the end of a block uses. */
export function endOperands(block: IrBlock): readonly IrValue[] {
  const { end } = block;
  if (end?.kind === "branch") return [end.a, end.b];
  return end?.kind === "return" ? [end.value] : [];
}

/** Replaces the values that the end of a block uses. */
export function mapEndOperands(block: IrBlock, map: (value: IrValue) => IrValue): void {
  const { end } = block;
  if (end?.kind === "branch") {
    end.a = map(end.a);
    end.b = map(end.b);
  } else if (end?.kind === "return") end.value = map(end.value);
}

/** How often each value is used. */
export function countUses(fn: Pick<IrFunction, "blocks">): Map<IrValue, number> {
  const uses = new Map<IrValue, number>();
  const count = (value: IrValue): void => void uses.set(value, (uses.get(value) ?? 0) + 1);
  for (const block of fn.blocks) {
    for (const node of block.nodes) for (const value of operands(node)) count(value);
    for (const value of endOperands(block)) count(value);
  }
  return uses;
}
