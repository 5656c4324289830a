import { successors } from "../compile/cfg.ts";
import { endOperands, operands } from "../compile/operands.ts";
import type { IrBlock, IrNode, IrValue, IrVar } from "../ir/ir.ts";

/** What a turn of a loop costs the verifier, where it follows the loop turn by turn. */
export interface LoopCost {
  /** About how many instructions it sees in a turn, those of inner loops as often as they run. */
  readonly insns: number;
  /** Branches both of whose ways lead to the next turn, by what only the running program knows: the ways multiply. */
  readonly forks: number;
  /** Such branches one of whose ways leaves the loop: the verifier keeps each of them in mind until it is done. */
  readonly exits: number;
}

/** A loop's cost, and whether it could be made in another way. */
export interface Measured extends LoopCost {
  /**
   * Whether the verifier can see after few turns that the others are like them, as iterators and `bpf_loop` want it. Not so
   * where a packet pointer moves on from turn to turn, or where a counter of constant steps decides something or ends up in
   * an address: each turn is another one there.
   */
  readonly settles: boolean;
}

/**
 * Measures the body of a loop, as it was recorded.
 *
 * @param all - the blocks of the function as far as they are recorded; the body's too.
 * @param body - the blocks of the body, the first of which is its start.
 * @param next - where it goes on to the next turn.
 */
export function measureLoop(all: readonly IrBlock[], body: readonly IrBlock[], next: IrBlock): Measured {
  const unknown = unknownVariables(all);
  const isKnown = (value: IrValue): boolean => knownIf(value, (variable) => !unknown.has(variable));
  const goesOn = leadingTo(next, body);
  let [insns, forks, exits] = [0, 0, 0];
  for (const { nodes, end } of body) {
    for (const node of nodes) insns += instructionsOf(node);
    if (end?.kind !== "branch") continue;
    insns += 1;
    if (isKnown(end.a) && isKnown(end.b)) continue;
    const [yes, no] = [goesOn.has(end.yes), goesOn.has(end.no)];
    if (yes && no) forks++;
    else if (yes || no) exits++;
  }
  return { insns, forks, exits, settles: settles(body, isKnown) };
}

function instructionsOf(node: IrNode): number {
  if (node.kind === "get" || node.kind === "set") return 0;
  return node.kind === "call" ? node.args.length + 1 : 1;
}

/** The blocks from which control can get to `next`, and `next`. */
function leadingTo(next: IrBlock, body: readonly IrBlock[]): ReadonlySet<IrBlock> {
  const found = new Set([next]);
  for (let size = 0; size < found.size; ) {
    size = found.size;
    for (const block of body.toReversed()) {
      if (successors(block).some((to) => found.has(to))) found.add(block);
    }
  }
  return found;
}

/** The variables that get something which the verifier cannot work out: no constant, and not computed from such. */
function unknownVariables(all: readonly IrBlock[]): ReadonlySet<IrVar> {
  const sets = all.flatMap(({ nodes }) => nodes).filter((node) => node.kind === "set");
  const unknown = new Set<IrVar>();
  for (let size = -1; size < unknown.size; ) {
    size = unknown.size;
    for (const { variable, value } of sets) {
      if (!knownIf(value, (one) => !unknown.has(one))) unknown.add(variable);
    }
  }
  return unknown;
}

function knownIf(value: IrValue, variableIs: (variable: IrVar) => boolean): boolean {
  if (value.kind === "const") return true;
  if (value.kind === "get") return variableIs(value.variable);
  if (value.pointer !== undefined) return false;
  return (
    (value.kind === "binary" || value.kind === "unary") &&
    operands(value).every((one) => knownIf(one, variableIs))
  );
}

function settles(body: readonly IrBlock[], isKnown: (value: IrValue) => boolean): boolean {
  const carried = carriedVariables(body);
  if ([...carried].some(({ pointer }) => pointer === "packet")) return false;
  const counts = new Set(carried);
  const sets = body.flatMap(({ nodes }) => nodes).filter((node) => node.kind === "set");
  const fromCarried = (value: IrValue): boolean =>
    value.kind === "get"
      ? counts.has(value.variable)
      : (value.kind === "binary" || value.kind === "unary") && operands(value).some(fromCarried);
  for (let size = -1; size < counts.size; ) {
    size = counts.size;
    for (const { variable, value } of sets) if (fromCarried(value)) counts.add(variable);
  }
  const isCounter = (value: IrValue): boolean => isKnown(value) && fromCarried(value);
  return body.every(
    (block) =>
      !(endOperands(block).every(isKnown) && endOperands(block).some(isCounter)) &&
      block.nodes.every(
        (node) =>
          !(node.kind === "call" && node.args.some(isCounter)) &&
          !(node.kind === "binary" && node.pointer !== undefined && isCounter(node.b)),
      ),
  );
}

/** The variables that a turn has from the turn before: read before they are set, and set. */
function carriedVariables(body: readonly IrBlock[]): ReadonlySet<IrVar> {
  const inside = new Set(body);
  const set = new Set<IrVar>();
  for (const { nodes } of body) for (const node of nodes) if (node.kind === "set") set.add(node.variable);
  return new Set([...set].filter((variable) => isReadFirst(variable, body[0], inside)));
}

function isReadFirst(variable: IrVar, start: IrBlock | undefined, inside: ReadonlySet<IrBlock>): boolean {
  const seen = new Set<IrBlock>();
  const work = start === undefined ? [] : [start];
  for (let block = work.pop(); block !== undefined; block = work.pop()) {
    if (seen.has(block) || !inside.has(block)) continue;
    seen.add(block);
    const first = block.nodes.find(
      (node) => (node.kind === "get" || node.kind === "set") && node.variable === variable,
    );
    if (first?.kind === "get") return true;
    if (first === undefined) work.push(...successors(block));
  }
  return false;
}
