import { TsbpfError } from "../../base/error.ts";
import type { Device } from "../../kernel/tc/hook.ts";
import { type Link, listLinks } from "../../syscall/rtnetlink.ts";
import type { Context } from "../context.ts";
import { lockNamespace } from "../lock.ts";
import { releaseMounts } from "./mounts.ts";
import { listPins, pinDirectory, pinRoot, removePins } from "./pins.ts";
import { removeSession } from "./remove.ts";
import { findSessions, type Session } from "./session.ts";
import { findStalePins } from "./stale.ts";

/** What to take down. */
export interface DownRequest {
  /** Names of interfaces; `undefined` is all that are ours in this network namespace, and what others left behind. */
  readonly interfaces: readonly (string | OneSession)[] | undefined;
  readonly bpffs: string | undefined;
}

/** Exactly what one `up` made, on an interface that may have gone, or have been taken over by another `up`. */
export interface OneSession {
  readonly sessionId: number;
  readonly device: Device;
}

/** What was taken down on an interface. */
export interface Down {
  readonly interface: string;
  /** What was removed, a line each; empty where nothing was ours. */
  readonly removed: readonly string[];
}

/**
 * Takes down what we made on these interfaces, and nothing else. Where there is nothing, nothing happens.
 *
 * @throws TsbpfError for a name that neither an interface has nor anything of ours, before anything is taken down; with
 * the kernel's reason where something cannot be removed.
 */
export async function takeDown(context: Context, request: DownRequest): Promise<readonly Down[]> {
  const { sys, route, netns } = context;
  using _lock = await lockNamespace(sys);
  const sessions = findSessions(sys, route);
  const links = listLinks(route);
  const root = pinRoot(request.bpffs);
  const asked = request.interfaces ?? [...new Set(sessions.map(nameOf))];
  const targets = asked.map((one) =>
    typeof one === "string" ? findByName(one, links, sessions) : findOne(one, sessions),
  );

  const downs = targets.map(({ name, ours, indexes }): Down => {
    const removed = ours.flatMap((session) => removeSession(sys, route, session));
    for (const ifindex of root === undefined ? [] : indexes) {
      const pins = pinDirectory(root as string, netns, ifindex);
      if (removePins(pins)) removed.push(`pins in ${pins}`);
    }
    return { interface: name, removed };
  });
  const stale = request.interfaces === undefined && root !== undefined ? removeStale(root, netns) : [];
  releaseMounts(sys, request.bpffs);
  return [...downs, ...stale];
}

/** After everything of ours was detached, pins of this namespace keep nothing but garbage alive. */
function removeStale(root: string, netns: number): readonly Down[] {
  return findStalePins(listPins(root), { netns, inUse: new Set() }).map(({ path, reason }) => {
    removePins(path);
    return { interface: "(gone)", removed: [`pins in ${path}: ${reason}`] };
  });
}

/** The interface's name now, or the one it had when it has gone. */
function nameOf({ device, facts }: Session): string {
  return device?.name ?? facts.interface;
}

function isCalled({ name, altNames }: Link, asked: string): boolean {
  return name === asked || altNames.includes(asked);
}

interface Target {
  readonly name: string;
  readonly ours: readonly Session[];
  /** Indexes of the interfaces whose pins go. */
  readonly indexes: ReadonlySet<number>;
}

/** What is ours under a name. @throws TsbpfError where nothing has the name. */
function findByName(name: string, links: readonly Link[], sessions: readonly Session[]): Target {
  const here = links.filter((link) => isCalled(link, name)).map(({ index }) => index);
  const ours = sessions.filter((session) => nameOf(session) === name || here.includes(session.facts.ifindex));
  if (here.length === 0 && ours.length === 0) throw unknownName(name, sessions);
  return { name, ours, indexes: new Set([...here, ...ours.map((session) => session.facts.ifindex)]) };
}

/** What is left of one session. Its pins have gone if another one is in its place. */
function findOne({ sessionId, device: { name, ifindex } }: OneSession, sessions: readonly Session[]): Target {
  const ours = sessions.filter(({ id }) => id === sessionId);
  const replaced = sessions.some(({ id, facts }) => id !== sessionId && facts.ifindex === ifindex);
  return { name, ours, indexes: new Set(replaced ? [] : [ifindex]) };
}

function unknownName(name: string, sessions: readonly Session[]): TsbpfError {
  const ours = [...new Set(sessions.map(nameOf))];
  return new TsbpfError(`there is no interface '${name}' in this network namespace`, {
    hint:
      ours.length === 0
        ? "Nothing of ours is up here. `down --all` removes what interfaces that have gone left behind."
        : `Ours is up on: ${ours.join(", ")}.`,
  });
}
