import type { BtfBuilder } from "./builder.ts";
import { BtfError } from "./error.ts";
import { mapReferences, references } from "./references.ts";
import { type BtfType, type BtfTypeId, type BtfTypeOf, type BtfTypes, type BtfVoid, VOID } from "./type.ts";

/** How much is copied. */
export interface CopyOptions {
  /**
   * What becomes of named structs and unions that are only pointed to: `"copy"` takes them and all that they need (from
   * `task_struct` that is thousands of types), `"declare"` leaves a `fwd` of the name.
   */
  readonly pointedTo?: "copy" | "declare";
}

/** Copies one type into the builder it was made for, with all that it needs, and gives its id there. */
export type TypeCopier = (id: BtfTypeId) => BtfTypeId;

/**
 * Makes a function that copies types from decoded BTF (or another builder) into a builder. It remembers what it
 * copied: copying a type twice gives the same id. Types the builder has already are not added again, except for structs
 * that are part of, or depend on, a cycle, which only the copier's own memory can recognise.
 *
 * @throws BtfError (the copier) for a type that no kernel would load.
 *
 * @example
 * ```ts
 * const copy = createTypeCopier(vmlinux, builder, { pointedTo: "declare" });
 * const skb = copy(getType(vmlinux, "struct", "__sk_buff").id);
 * ```
 */
export function createTypeCopier(
  source: BtfTypes,
  builder: BtfBuilder,
  { pointedTo = "copy" }: CopyOptions = {},
): TypeCopier {
  const byValue = new Set<BtfTypeId>();
  const graph = createGraph(source, byValue, pointedTo === "declare");
  const copied = new Map<Node, BtfTypeId>();
  return (id) => {
    if (id === VOID) return VOID;
    // First what is needed by value, then the rest: a struct that is both needed and pointed to is not declared.
    for (const node of reach(graph, valueNode(id), copied)) if (isByValue(node)) byValue.add(idOf(node));
    copyAll(graph, builder, reach(graph, valueNode(id), copied), copied);
    return mustBeCopied(copied, valueNode(id));
  };
}

/**
 * Copies every type of `source` into a builder.
 *
 * @returns the id in the builder for each id of the source, by index.
 */
export function mergeBtf(builder: BtfBuilder, source: BtfTypes): BtfTypeId[] {
  const graph = createGraph(source, new Set(), false);
  const copied = new Map<Node, BtfTypeId>();
  const nodes = new Set<Node>();
  for (let id = 1; id < source.typeCount; id++) nodes.add(valueNode(id));
  copyAll(graph, builder, nodes, copied);
  return Array.from({ length: source.typeCount }, (_, id) =>
    id === VOID ? VOID : mustBeCopied(copied, valueNode(id)),
  );
}

/**
 * A type in the role in which it is needed: as it is, or only from behind a pointer. In the second role a named struct
 * is a `fwd`, and so `const struct sock` is not the same type in both.
 */
type Node = number;
const valueNode = (id: BtfTypeId): Node => id * 2;
const pointedNode = (id: BtfTypeId): Node => id * 2 + 1;
const idOf = (node: Node): BtfTypeId => Math.floor(node / 2);
const isByValue = (node: Node): boolean => node % 2 === 0;

interface Graph {
  /** The type to write for a node, with the source's ids in it. */
  type(node: Node): BtfType;
  /** The node that a node's type means by an id. */
  to(node: Node, id: BtfTypeId): Node;
}

function createGraph(source: BtfTypes, byValue: ReadonlySet<BtfTypeId>, declarePointedTo: boolean): Graph {
  return {
    type(node) {
      const type = source.type(idOf(node));
      if (type.kind === "void") throw new BtfError("void has no record to copy");
      if (!isByValue(node) && isRecord(type)) return { kind: "fwd", name: type.name, of: type.kind };
      return type;
    },
    to(node, id) {
      if (!declarePointedTo || byValue.has(id)) return valueNode(id);
      const from = source.type(idOf(node));
      if (isRecord(from) || (isByValue(node) && from.kind !== "ptr")) return valueNode(id);
      const type = source.type(id);
      // Without a name there is nothing to declare.
      return isRecord(type) && type.name === "" ? valueNode(id) : pointedNode(id);
    },
  };
}

function isRecord(type: BtfType | BtfVoid): type is BtfTypeOf<"struct" | "union"> {
  return type.kind === "struct" || type.kind === "union";
}

/** The nodes that a node's type refers to, less `void`. */
function successors(graph: Graph, node: Node): Set<Node> {
  const nodes = new Set<Node>();
  for (const id of references(graph.type(node))) if (id !== VOID) nodes.add(graph.to(node, id));
  return nodes;
}

/** Everything that must be copied for a node, itself included. */
function reach(graph: Graph, start: Node, copied: ReadonlyMap<Node, BtfTypeId>): Set<Node> {
  const reached = new Set<Node>();
  const todo = [start];
  for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
    if (reached.has(node) || copied.has(node)) continue;
    reached.add(node);
    for (const to of successors(graph, node)) todo.push(to);
  }
  return reached;
}

/**
 * Copies nodes whose successors are all among them or copied: first whatever refers only to what is there, again and
 * again. What then remains is in or behind a cycle, and every cycle of C types goes through a struct, so the structs
 * get their ids in advance.
 */
function copyAll(
  graph: Graph,
  builder: BtfBuilder,
  nodes: ReadonlySet<Node>,
  copied: Map<Node, BtfTypeId>,
): void {
  /** For each node that is not copied yet, how many of its successors are not either. */
  const waiting = new Map<Node, number>();
  const dependents = new Map<Node, Node[]>();
  const ready: Node[] = [];
  for (const node of nodes) {
    const missing = [...successors(graph, node)].filter((to) => !copied.has(to));
    for (const to of missing) {
      const list = dependents.get(to);
      if (list === undefined) dependents.set(to, [node]);
      else list.push(node);
    }
    if (missing.length === 0) ready.push(node);
    else waiting.set(node, missing.length);
  }

  const settle = (node: Node): void => {
    for (const dependent of dependents.get(node) ?? []) {
      const missing = waiting.get(dependent);
      if (missing === undefined) continue;
      waiting.set(dependent, missing - 1);
      if (missing > 1) continue;
      waiting.delete(dependent);
      ready.push(dependent);
    }
  };
  const translate = (node: Node): BtfType =>
    mapReferences(graph.type(node), (id) => (id === VOID ? VOID : mustBeCopied(copied, graph.to(node, id))));
  const addReady = (): void => {
    for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
      copied.set(node, builder.add(translate(node)));
      settle(node);
    }
  };
  const reserved: Node[] = [];
  const reserve = (wanted: (node: Node) => boolean): void => {
    for (const node of [...waiting.keys()].filter(wanted)) {
      waiting.delete(node);
      copied.set(node, builder.reserve());
      reserved.push(node);
    }
    reserved.forEach(settle);
    addReady();
  };

  addReady();
  reserve((node) => isRecord(graph.type(node)));
  // Only bytes that no compiler wrote have cycles without a struct.
  if (waiting.size > 0) reserve(() => true);
  for (const node of reserved) builder.define(mustBeCopied(copied, node), translate(node));
}

function mustBeCopied(copied: ReadonlyMap<Node, BtfTypeId>, node: Node): BtfTypeId {
  const id = copied.get(node);
  if (id === undefined) throw new BtfError(`type ${idOf(node)} was not copied`, { typeId: idOf(node) });
  return id;
}
