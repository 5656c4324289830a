import { TsbpfError } from "../../base/error.ts";
import { formatCpuList, parseCpuList, readCpus } from "../../kernel/cpus.ts";
import type { NetlinkSocket } from "../../syscall/netlink.ts";
import { type Link, linkByName } from "../../syscall/rtnetlink.ts";

/** Most bytes of an interface name (IFNAMSIZ counts its NUL). */
const MAX_NAME = 15;

/**
 * Finds an interface by name.
 *
 * @throws TsbpfError for a name that none can have, and for one that none has, with the names that are near.
 */
export function findDevice(route: NetlinkSocket, name: string, known: () => readonly Link[]): Link {
  if (name === "" || /[/\s]/.test(name) || name === "." || name === "..") {
    throw new TsbpfError(`'${name}' is not an interface name`, {
      hint: "It has 1 to 15 characters, without '/' and white space.",
    });
  }
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > MAX_NAME) {
    throw new TsbpfError(`'${name}' is too long for an interface name: ${bytes} bytes`, {
      hint: `The kernel takes at most ${MAX_NAME}. \`ip link\` shows the names there are.`,
    });
  }
  const link = linkByName(route, name);
  if (link !== undefined) return link;
  const names = known().map((candidate) => candidate.name);
  throw new TsbpfError(`there is no interface '${name}' in this network namespace`, {
    hint: `There ${names.length === 1 ? "is" : "are"}: ${names.join(", ")}.`,
  });
}

/**
 * The CPUs that get an entry: those asked for, or all that are online.
 *
 * @throws TsbpfError for a CPU that does not exist or is not online. (The kernel would take a possible CPU that is
 * offline, and its packets would be lost.)
 */
export function chooseCpus(list: string | undefined): readonly number[] {
  const { online, possible } = readCpus();
  if (list === undefined) return online;
  const cpus = parseCpuList(list);
  for (const cpu of cpus) {
    if (online.includes(cpu)) continue;
    const state = possible.includes(cpu) ? "is not online" : "does not exist";
    throw new TsbpfError(`CPU ${cpu} ${state}`, { hint: `Online are ${formatCpuList(online)}.` });
  }
  return cpus;
}
