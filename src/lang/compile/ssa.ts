import { LangError } from "../error.ts";
import type { IrBlock, IrFunction, IrNode, IrPhi, IrValue, IrVar } from "../ir/ir.ts";
import { predecessors, reachable } from "./cfg.ts";
import { mapEndOperands, mapOperands } from "./operands.ts";

/**
 * Turns variables into single assignments: every {@link IrGet} becomes the value that was set, or a phi where several
 * paths meet (Braun et al., "Simple and Efficient Construction of Static Single Assignment Form").
 *
 * @throws LangError for a variable that is read where it may not have been set.
 */
export function toSingleAssignment(fn: IrFunction): void {
  const blocks = reachable(fn);
  fn.blocks.splice(0, fn.blocks.length, ...blocks);
  const before = predecessors(blocks);
  const replaced = new Map<IrValue, IrValue>();
  const resolve = (value: IrValue): IrValue => {
    let at = value;
    for (let next = replaced.get(at); next !== undefined; next = replaced.get(at)) at = next;
    return at;
  };
  // What each variable holds at the end of a block, as far as that is known by now.
  const atEnd = new Map<IrBlock, Map<IrVar, IrValue>>(blocks.map((block) => [block, new Map()]));
  const atStart = new Map<IrBlock, Map<IrVar, IrPhi>>(blocks.map((block) => [block, new Map()]));
  const phis: { readonly phi: IrPhi; readonly block: IrBlock }[] = [];

  const startPhi = (block: IrBlock, variable: IrVar, get: IrValue): IrPhi => {
    const known = atStart.get(block)?.get(variable);
    if (known !== undefined) return known;
    if (block === blocks[0]) {
      throw new LangError(
        `${variable.name} is read where it may not have been set`,
        get.source,
        "Some path that leads here does not pass its declaration: declare it before the branch, with $.let.",
      );
    }
    const { pointer } = variable;
    const widened = pointer === undefined && block.nodes.some(isIteratorNext);
    const phi: IrPhi = { kind: "phi", variable, inputs: [], pointer, widened, source: get.source };
    atStart.get(block)?.set(variable, phi);
    phis.push({ phi, block });
    return phi;
  };

  for (const block of blocks) {
    const now = atEnd.get(block) as Map<IrVar, IrValue>;
    block.nodes = block.nodes.filter((node) => {
      if (node.kind === "set") {
        now.set(node.variable, node.value);
        return false;
      }
      if (node.kind !== "get") return true;
      const value = now.get(node.variable) ?? startPhi(block, node.variable, node);
      now.set(node.variable, value);
      replaced.set(node, value);
      return false;
    });
  }
  // Each new phi asks the blocks before it, which may need phis of their own.
  for (let at = 0; at < phis.length; at++) {
    const { phi, block } = phis[at] as { phi: IrPhi; block: IrBlock };
    phi.inputs = (before.get(block) ?? []).map((from) => {
      const end = atEnd.get(from) as Map<IrVar, IrValue>;
      let value = end.get(phi.variable);
      if (value === undefined) {
        value = startPhi(from, phi.variable, phi);
        end.set(phi.variable, value);
      }
      return { from, value };
    });
  }
  for (const { phi, block } of phis) block.nodes.unshift(phi);
  for (const block of blocks) {
    for (const node of block.nodes) mapOperands(node, resolve);
    mapEndOperands(block, resolve);
  }
  removeTrivialPhis(fn);
}

/** Takes out phis all of whose inputs are the same value, or the phi itself. */
export function removeTrivialPhis(fn: IrFunction): void {
  for (let changed = true; changed; ) {
    changed = false;
    const replaced = new Map<IrValue, IrValue>();
    for (const block of fn.blocks) {
      block.nodes = block.nodes.filter((node) => {
        if (node.kind !== "phi") return true;
        const values = distinct(node);
        if (values.length !== 1) return true;
        replaced.set(node, values[0] as IrValue);
        return false;
      });
    }
    if (replaced.size === 0) return;
    changed = true;
    const resolve = (value: IrValue): IrValue => {
      let at = value;
      for (let next = replaced.get(at); next !== undefined; next = replaced.get(at)) at = next;
      return at;
    };
    for (const block of fn.blocks) {
      for (const node of block.nodes) mapOperands(node, resolve);
      mapEndOperands(block, resolve);
    }
  }
}

function distinct(phi: IrPhi): readonly IrValue[] {
  const values: IrValue[] = [];
  for (const { value } of phi.inputs) {
    if (value === phi || values.some((one) => same(one, value))) continue;
    values.push(value);
  }
  return values;
}

function same(a: IrValue, b: IrValue): boolean {
  return a === b || (a.kind === "const" && b.kind === "const" && a.value === b.value);
}

/** `bpf_iter_num_next` and its like, which the verifier takes for the head of a loop. */
function isIteratorNext(node: IrNode): boolean {
  return node.kind === "call" && node.callee.kind === "kfunc" && /^bpf_iter_\w+_next$/.test(node.callee.name);
}
