import type { IrFunction, IrNode, MemoryClass } from "./ir.ts";

/** What a call of a function does to memory that its caller can see. */
export interface Effects {
  readonly reads: readonly MemoryClass[];
  readonly writes: readonly MemoryClass[];
  /** Whether a call whose result nobody uses can be left out. */
  readonly removable: boolean;
}

/** The effects of a recorded function. Its own stack frame is nobody else's business. */
export function effectsOf({ blocks }: IrFunction): Effects {
  const nodes = blocks.flatMap((block) => block.nodes);
  const touched = (what: "reads" | "writes"): readonly MemoryClass[] => [
    ...new Set(nodes.flatMap((node) => touchedBy(node, what)).filter((memory) => memory !== "stack")),
  ];
  return {
    reads: touched("reads"),
    writes: touched("writes"),
    removable: nodes.every(
      (node) =>
        node.kind !== "atomic" &&
        !(node.kind === "store" && node.memory !== "stack") &&
        !(node.kind === "call" && !node.removable),
    ),
  };
}

function touchedBy(node: IrNode, what: "reads" | "writes"): readonly MemoryClass[] {
  switch (node.kind) {
    case "load":
      return what === "reads" ? [node.memory] : [];
    case "store":
      return what === "writes" ? [node.memory] : [];
    case "atomic":
      return [node.memory];
    case "call":
      return node[what];
    default:
      return [];
  }
}
