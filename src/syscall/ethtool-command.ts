import { EOPNOTSUPP } from "../uapi/errno.ts";
import { AF_INET, IFNAMSIZ, SIOCETHTOOL, SOCK_CLOEXEC, SOCK_DGRAM } from "../uapi/net.ts";
import { ifreq, ifreq_ifr_ifru } from "../uapi/structs.ts";
import { AttrError, BpfAttr } from "./attr.ts";
import { check } from "./errno.ts";
import { Fd } from "./fd.ts";
import type { Syscalls } from "./syscalls.ts";

/**
 * The SIOCETHTOOL ioctl: an ifreq with the interface's name and a pointer to a command, which the kernel fills in. The
 * interface is looked up in the network namespace that the calling thread is in.
 *
 * @param name - the command's, such as `ETHTOOL_GDRVINFO`, for messages.
 * @returns `false` where the driver does not know the command.
 * @throws `SyscallError`: ENODEV, EPERM where it takes CAP_NET_ADMIN; `AttrError` for what is no interface name.
 */
export function ethtoolCommand(sys: Syscalls, ifname: string, name: string, command: Uint8Array): boolean {
  const request = new BpfAttr(sys, IFREQ).ptr("ifr_data", command);
  const encoded = new TextEncoder().encode(ifname);
  if (encoded.byteLength === 0 || encoded.byteLength >= IFNAMSIZ || encoded.includes(0)) {
    throw new AttrError(`"${ifname}" is not an interface name`, { hint: "A name has 1 to 15 bytes." });
  }
  request.bytes.set(encoded);
  using socket = Fd.own(
    sys,
    check(sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket(AF_INET)"),
    "ioctl socket",
  );
  const result = sys.ioctl(socket.number, SIOCETHTOOL, request.bytes);
  if (result === -EOPNOTSUPP) return false;
  check(result, `ioctl(SIOCETHTOOL, ${name})`, { dev: ifname });
  return true;
}

const IFREQ = { ifr_data: ifreq_ifr_ifru.ifru_data, size: ifreq.size } as const;
