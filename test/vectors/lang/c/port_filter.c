/* XDP: drops UDP over IPv4 to the ports on a list, and counts what it drops for each. */
#include "bpf.h"

extern struct bpf_map blocked_ports; /* hash: u16 (host order) -> u64 */

int port_filter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > data_end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	if (ip->ihl < 5 || ip->frag_off & bpf_htons(0x1fff))
		return XDP_PASS;

	struct udphdr *udp = (void *)ip + ip->ihl * 4;
	if ((void *)(udp + 1) > data_end)
		return XDP_PASS;

	__u16 port = bpf_ntohs(udp->dest);
	__u64 *dropped = bpf_map_lookup_elem(&blocked_ports, &port);
	if (!dropped)
		return XDP_PASS;
	__sync_fetch_and_add(dropped, 1);
	return XDP_DROP;
}
