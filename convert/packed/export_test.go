package packed

import "github.com/ggufkit/ggufkit/convert/weights"

// DecodedEXL3 returns the values that the codes of a matrix of EXL3 stand for, before they
// are multiplied by anything: k rows of n.
func DecodedEXL3(set weights.Set, module string) ([]float32, error) {
	c := &checkpoint{Set: set, Config: new(Config), replaced: make(map[string]tensor)}
	m, err := newEXL3(c, module+".trellis", module)
	if err != nil {
		return nil, err
	}
	decoded := make([]float32, m.k*m.n)
	values, raw := new(exl3Values), make([]byte, exl3Tiles*m.tileBytes())
	for row := range m.n / exl3Block {
		for column := range m.k / exl3Block {
			if err := m.decode(values, raw, m.codebook(), row, column); err != nil {
				return nil, err
			}
			for i, v := range values {
				k, n := column*exl3Block+int64(i)%exl3Block, row*exl3Block+int64(i)/exl3Block
				decoded[k*m.n+n] = v
			}
		}
	}
	return decoded, nil
}
