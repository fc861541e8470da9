package imatrix

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzUnit: what is kept of a unit is read as it was, or there is an error.
func FuzzUnit(f *testing.F) {
	empty, err := (&unit{}).appendBinary(nil)
	require.NoError(f, err)
	f.Add(empty)
	f.Add(append(binary.LittleEndian.AppendUint32(nil, 2), "{}"...))
	f.Add(append(binary.LittleEndian.AppendUint32(nil, 4), `null`...))
	f.Add(binary.LittleEndian.AppendUint32(nil, 0xffffffff))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := readUnit(data)
		if err != nil {
			return
		}
		again, err := u.appendBinary(nil)
		require.NoError(t, err)
		same, err := readUnit(again)
		require.NoError(t, err)
		twice, err := same.appendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, again, twice)
	})
}
