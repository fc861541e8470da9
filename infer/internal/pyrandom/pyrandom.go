// Package pyrandom draws the numbers that Python's random.Random and NumPy's legacy RandomState draw
// from the same seed, for programs that must choose what a Python program chose.
//
//	r := pyrandom.New(1234)
//	shots := r.Sample(1119, 5) // random.Random(1234).sample(range(1119), 5)
//
// Both are the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), seeded in two ways. What is made of its
// numbers follows CPython's Lib/random.py (3.11 and later) and NumPy's RandomState.permutation.
package pyrandom

import "math/bits"

const (
	length = 624
	middle = 397
)

// twister is MT19937.
type twister struct {
	state [length]uint32
	next  int
}

// seed is init_genrand of the reference implementation.
func (t *twister) seed(s uint32) {
	for i := range t.state {
		t.state[i] = s
		s = 1812433253*(s^s>>30) + uint32(i) + 1
	}
	t.next = length
}

// seedKey is init_by_array.
func (t *twister) seedKey(key []uint32) {
	t.seed(19650218)
	i, j := 1, 0
	step := func(factor uint32, add func(old uint32) uint32) {
		before := t.state[i-1]
		t.state[i] = add(t.state[i] ^ (before^before>>30)*factor)
		if i++; i == length {
			t.state[0], i = t.state[length-1], 1
		}
	}
	for range max(length, len(key)) {
		step(1664525, func(x uint32) uint32 { return x + key[j] + uint32(j) })
		if j++; j == len(key) {
			j = 0
		}
	}
	for range length - 1 {
		at := uint32(i)
		step(1566083941, func(x uint32) uint32 { return x - at })
	}
	t.state[0] = 1 << 31
}

func (t *twister) uint32() uint32 {
	if t.next == length {
		for i := range t.state {
			y := t.state[i]&(1<<31) | t.state[(i+1)%length]&(1<<31-1)
			t.state[i] = t.state[(i+middle)%length] ^ y>>1 ^ y&1*0x9908b0df
		}
		t.next = 0
	}
	y := t.state[t.next]
	t.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// Random is Python's random.Random.
type Random struct{ t twister }

// New returns Random(seed).
func New(seed uint64) *Random {
	key := []uint32{uint32(seed)}
	if high := uint32(seed >> 32); high != 0 {
		key = append(key, high)
	}
	r := &Random{}
	r.t.seedKey(key)
	return r
}

// Below returns a number in [0, n), n > 0: Random._randbelow.
func (r *Random) Below(n int) int {
	k := bits.Len(uint(n))
	for {
		if x := r.bits(k); x < n {
			return x
		}
	}
}

// bits is getrandbits.
func (r *Random) bits(k int) int {
	if k <= 32 {
		return int(r.t.uint32() >> (32 - k))
	}
	low := int(r.t.uint32())
	return int(r.t.uint32()>>(64-k))<<32 | low
}

// Shuffle is random.shuffle of n elements that swap exchanges.
func (r *Random) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, r.Below(i+1))
	}
}

// Sample is random.sample(range(n), k), k of n different numbers. It panics if k > n.
func (r *Random) Sample(n, k int) []int {
	if k > n {
		panic("pyrandom: a sample larger than what it is drawn from")
	}
	chosen := make([]int, k)
	set := 21 // the size of a small set less that of an empty list
	if k > 5 {
		for power := 4; ; power *= 4 {
			if power >= 3*k {
				set += power
				break
			}
		}
	}
	if n <= set {
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for i := range chosen {
			j := r.Below(n - i)
			chosen[i], pool[j] = pool[j], pool[n-i-1]
		}
		return chosen
	}
	seen := make(map[int]bool, k)
	for i := range chosen {
		j := r.Below(n)
		for seen[j] {
			j = r.Below(n)
		}
		seen[j] = true
		chosen[i] = j
	}
	return chosen
}

// Words returns what draws the 32-bit numbers of C++'s std::mt19937(seed), which are those of RandomState(seed).
func Words(seed uint32) func() uint32 {
	t := &twister{}
	t.seed(seed)
	return t.uint32
}

// Permutation returns numpy.random.RandomState(seed).permutation(n).
func Permutation(seed uint32, n int) []int {
	var t twister
	t.seed(seed)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	for i := n - 1; i > 0; i-- {
		mask := uint32(1)<<bits.Len(uint(i)) - 1
		j := t.uint32() & mask
		for j > uint32(i) {
			j = t.uint32() & mask
		}
		order[i], order[j] = order[j], order[i]
	}
	return order
}
