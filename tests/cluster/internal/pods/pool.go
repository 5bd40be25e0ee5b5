package pods

import (
	"fmt"
	"net/netip"
)

// Pool gives out the addresses of one block, each to one pod. It goes round, so that an address that was given back
// is not someone else's at once.
type Pool struct {
	block netip.Prefix
	last  netip.Addr
	taken map[netip.Addr]bool
}

// NewPool is the pool of a block like 10.244.3.0/24.
func NewPool(block string) (*Pool, error) {
	prefix, err := netip.ParsePrefix(block)
	if err != nil {
		return nil, err
	}
	prefix = prefix.Masked()
	return &Pool{block: prefix, last: first(prefix), taken: map[netip.Addr]bool{}}, nil
}

// first is the block's gateway: never a pod's.
func first(block netip.Prefix) netip.Addr { return block.Addr().Next() }

// Take gives an address. The search is bounded by what is taken, also in a large IPv6 block.
func (p *Pool) Take() (string, error) {
	for range len(p.taken) + 3 {
		next := p.last.Next()
		// The last address of an IPv4 block is its broadcast.
		if !p.block.Contains(next) || next.Is4() && !p.block.Contains(next.Next()) {
			next = first(p.block).Next()
		}
		p.last = next
		if p.block.Contains(next) && !p.taken[next] {
			p.taken[next] = true
			return next.String(), nil
		}
	}
	return "", fmt.Errorf("no free address in %s", p.block)
}

// Claim notes an address that a pod has already, as after a restart.
func (p *Pool) Claim(address string) {
	if parsed, err := netip.ParseAddr(address); err == nil && p.block.Contains(parsed) {
		p.taken[parsed] = true
	}
}

// Return takes an address back.
func (p *Pool) Return(address string) {
	if parsed, err := netip.ParseAddr(address); err == nil {
		delete(p.taken, parsed)
	}
}
