import type { IrEnd, IrFunction, IrLoad, IrNode, IrTarget, IrValue } from "../ir/ir.ts";
import { possibleBits, upTo } from "./bits.ts";
import { lowerBits } from "./fold.ts";
import { countUses, mapEndOperands, mapOperands } from "./operands.ts";

/**
 * Leaves extensions to the instructions behind and before them, once everything else is done: a store looks at its lower bits
 * itself, a comparison of 32 bits does too, and from ISA 4 on a load extends the sign itself.
 */
export function narrow(fn: IrFunction, { isa }: IrTarget): void {
  leaveToUsers(fn);
  if (isa >= 4) leaveToLoads(fn);
}

/** Extensions and masks all of whose users look at the lower bits only. */
function leaveToUsers({ blocks }: IrFunction): void {
  const uses = countUses({ blocks });
  const low = new Map<IrValue, number>();
  const count = (value: IrValue, bits: number): void => {
    if (lowerBits(value, bits) !== value) low.set(value, (low.get(value) ?? 0) + 1);
  };
  for (const { nodes, end } of blocks) {
    for (const node of nodes) if (node.kind === "store" && node.size < 8) count(node.value, node.size * 8);
    if (end?.kind === "branch" && comparesLowerHalves(end)) {
      count(end.a, 32);
      count(end.b, 32);
    }
  }
  const narrowed = (value: IrValue, bits: number): IrValue =>
    low.get(value) === uses.get(value) ? lowerBits(value, bits) : value;
  for (const { nodes, end } of blocks) {
    for (const node of nodes) {
      if (node.kind === "store" && node.size < 8) node.value = narrowed(node.value, node.size * 8);
    }
    if (end?.kind !== "branch" || !comparesLowerHalves(end)) continue;
    const [a, b] = [narrowed(end.a, 32), narrowed(end.b, 32)];
    if (a === end.a && b === end.b) continue;
    end.a = a;
    end.b = b;
    end.width = 32;
  }
}

type Branch = IrEnd & { kind: "branch" };

/** Whether the upper halves of what is compared are zero, and the signs of the lower ones do not matter. */
function comparesLowerHalves({ a, b, op, width }: Branch): boolean {
  if (width !== 64 || /^s[gl]/.test(op) || a.pointer !== undefined || b.pointer !== undefined) return false;
  return possibleBits(a) <= upTo(32) && possibleBits(b) <= upTo(32);
}

/** Sign extensions of what is loaded for them. */
function leaveToLoads(fn: IrFunction): void {
  const uses = countUses(fn);
  const signed = new Map<IrValue, IrLoad>();
  for (const node of fn.blocks.flatMap(({ nodes }) => nodes)) {
    if (node.kind !== "unary" || node.width !== 64 || node.a.kind !== "load") continue;
    const load = node.a;
    if (node.op !== `sext${load.size * 8}` || uses.get(load) !== 1 || !extendsSign(load)) continue;
    const instead: IrLoad = { ...load, signed: true };
    signed.set(load, instead);
    signed.set(node, instead);
  }
  if (signed.size === 0) return;
  const resolve = (value: IrValue): IrValue => signed.get(value) ?? value;
  for (const block of fn.blocks) {
    block.nodes = block.nodes.flatMap((node): readonly IrNode[] => {
      if (node.kind === "unary" && signed.has(node)) return [];
      mapOperands(node, resolve);
      return [node.kind === "load" ? resolve(node) : node];
    });
    mapEndOperands(block, resolve);
  }
}

/** The verifier rewrites loads from contexts, and wants them plain. */
function extendsSign({ memory, signed, volatile }: IrLoad): boolean {
  return !signed && !volatile && (memory === "packet" || memory === "stack" || memory === "map_value");
}
