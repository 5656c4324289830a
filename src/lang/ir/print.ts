import type { IrAddress, IrBlock, IrCallee, IrEnd, IrFunction, IrNode, IrValue } from "./ir.ts";

/**
 * Puts a function into words, for snapshots in tests and for whoever looks for a mistake in the compiler. Values are
 * numbered in the order in which they stand: the same graph always gives the same text.
 *
 * @example
 * ```text
 * function drop_all(ctx)
 * entry:
 *   v0 = load4 ctx [p0 + 0]
 *   if gt64 v0 20 then to drop else to pass
 * ```
 */
export function printFunction(fn: IrFunction): string {
  const blocks = new Map<IrBlock, string>();
  const taken = new Map<string, number>();
  for (const block of fn.blocks) {
    const count = (taken.get(block.hint) ?? 0) + 1;
    taken.set(block.hint, count);
    blocks.set(block, count === 1 ? block.hint : `${block.hint}.${count}`);
  }
  const standing = fn.blocks.flatMap(({ nodes }) => nodes).filter((node) => hasValue(node));
  const names: Names = { values: new Map(standing.map((value, index) => [value, `v${index}`])), blocks };
  const lines = [`function ${fn.name}(${fn.params.map(({ pointer }) => pointer ?? "number").join(", ")})`];
  for (const { name, size, align, scratch } of fn.slots) {
    lines.push(`  slot ${name} ${size} align ${align}${scratch ? " scratch" : ""}`);
  }
  for (const block of fn.blocks) {
    lines.push(`${blocks.get(block)}:`);
    for (const node of block.nodes) lines.push(`  ${printNode(node, names)}`);
    lines.push(`  ${block.end === undefined ? "(open)" : printEnd(block.end, names)}`);
  }
  return `${lines.join("\n")}\n`;
}

interface Names {
  readonly values: ReadonlyMap<IrNode, string>;
  readonly blocks: ReadonlyMap<IrBlock, string>;
}

function hasValue(node: IrNode): node is IrValue {
  return node.kind !== "store" && node.kind !== "set";
}

function printNode(node: IrNode, names: Names): string {
  const text = describe(node, names);
  return hasValue(node) ? `${names.values.get(node)} = ${text}` : text;
}

function describe(node: IrNode, names: Names): string {
  const of = (value: IrValue): string => operand(value, names);
  switch (node.kind) {
    case "binary":
      return `${node.op}${node.width} ${of(node.a)} ${of(node.b)}`;
    case "unary":
      return `${node.op}${/\d$/.test(node.op) ? "." : ""}${node.width} ${of(node.a)}`;
    case "load":
      return `${node.volatile ? "volatile " : ""}load${node.signed ? "s" : ""}${node.size} ${node.memory} [${of(node.base)} + ${node.offset}]`;
    case "store":
      return `${node.volatile ? "volatile " : ""}store${node.size} ${node.memory} [${of(node.base)} + ${node.offset}] ${of(node.value)}`;
    case "atomic": {
      const expected = node.expected === undefined ? "" : ` expecting ${of(node.expected)}`;
      return `${node.op}${node.size} ${node.memory} [${of(node.base)} + ${node.offset}] ${of(node.value)}${expected}`;
    }
    case "call":
      return `call ${calleeName(node.callee)}(${node.args.map(of).join(", ")})`;
    case "get":
      return `get ${node.variable.name}`;
    case "set":
      return `set ${node.variable.name} ${of(node.value)}`;
    case "phi":
      return `phi ${node.inputs.map(({ from, value }) => `${names.blocks.get(from) ?? "?"}: ${of(value)}`).join(", ")}`;
    default:
      return leaf(node);
  }
}

/** How a value is named where it is used: constants and the like, which may stand nowhere, by what they are. */
function operand(value: IrValue, names: Names): string {
  switch (value.kind) {
    case "const":
    case "param":
    case "address":
    case "frame":
      return leaf(value);
    default:
      return names.values.get(value) ?? `(${value.kind} that stands nowhere)`;
  }
}

function leaf(value: IrValue & { kind: "const" | "param" | "address" | "frame" }): string {
  switch (value.kind) {
    case "const":
      return `${BigInt.asIntN(64, value.value)}`;
    case "param":
      return `p${value.index}`;
    case "frame":
      return `&${value.slot.name}+${value.offset}`;
    case "address":
      return addressName(value);
  }
}

function addressName({ target }: IrAddress): string {
  if (target.kind === "function") return `&function ${target.fn.name}`;
  const { ref } = target;
  switch (ref?.kind) {
    case "map":
      return `${ref.value ? "&value of map" : "map"} ${ref.map.name}`;
    case "ksym":
      return `&${ref.name}`;
    default:
      return `address ${target.pseudo}:${target.imm}:${target.next_imm}`;
  }
}

function calleeName(callee: IrCallee): string {
  switch (callee.kind) {
    case "helper":
      return callee.helper.name;
    case "kfunc":
      return callee.name;
    case "function":
      return callee.fn.name;
  }
}

function printEnd(end: IrEnd, names: Names): string {
  const to = (block: IrBlock): string => names.blocks.get(block) ?? "(a block of no function)";
  switch (end.kind) {
    case "jump":
      return `to ${to(end.to)}`;
    case "branch":
      return `if ${end.op}${end.width} ${operand(end.a, names)} ${operand(end.b, names)} then to ${to(end.yes)} else to ${to(end.no)}`;
    case "return":
      return `return ${operand(end.value, names)}`;
    case "may_goto":
      return `to ${to(end.next)}, or once the kernel's count is used up to ${to(end.out)}`;
  }
}
