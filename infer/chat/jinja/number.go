package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// integer returns an int: an int64 if it fits.
func integer(i *big.Int) value {
	if i.IsInt64() {
		return i.Int64()
	}
	if i.BitLen() > maxBits {
		fail("%w: an integer of more than %d bits", ErrLimit, maxBits)
	}
	return i
}

// whole returns an int, or a bool as one, nil for anything else.
func whole(v value) *big.Int {
	switch v := v.(type) {
	case bool:
		if v {
			return big.NewInt(1)
		}
		return new(big.Int)
	case int64:
		return big.NewInt(v)
	case *big.Int:
		return v
	}
	return nil
}

// small returns an int as an int64, cut to its range: counts, indexes and
// widths beyond it mean the same.
func small(v value) (int64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return v, true
	case *big.Int:
		if v.Sign() < 0 {
			return math.MinInt64, true
		}
		return math.MaxInt64, true
	}
	return 0, false
}

// count is small for arguments: it fails for what is no int.
func count(v value) int {
	n, ok := small(v)
	if !ok {
		fail("'%s' object cannot be interpreted as an integer", typeName(v))
	}
	return int(n)
}

// real64 returns a number as a float64.
func real64(v value) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	if i := whole(v); i != nil {
		f, _ := new(big.Float).SetInt(i).Float64()
		if math.IsInf(f, 0) {
			fail("int too large to convert to float")
		}
		return f, true
	}
	return 0, false
}

func isNumber(v value) bool {
	_, float := v.(float64)
	return float || whole(v) != nil
}

// arithmetic does + - * / // % and ** of two numbers.
func (r *renderer) arithmetic(op string, a, b value) value {
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			if z, ok := fast(op, x, y); ok {
				return z
			}
		}
	}
	x, y := whole(a), whole(b)
	if x == nil || y == nil {
		fa, _ := real64(a)
		fb, _ := real64(b)
		return floats(op, fa, fb)
	}
	r.alloc((x.BitLen() + y.BitLen()) / 4)
	if (op == "/" || op == "//" || op == "%") && y.Sign() == 0 {
		fail("division by zero")
	}
	switch op {
	case "+":
		return integer(new(big.Int).Add(x, y))
	case "-":
		return integer(new(big.Int).Sub(x, y))
	case "*":
		r.step(x.BitLen() * (y.BitLen()/64 + 1) / 64)
		return integer(new(big.Int).Mul(x, y))
	case "/":
		f, _ := new(big.Rat).SetFrac(x, y).Float64()
		if math.IsInf(f, 0) {
			fail("integer division result too large for a float")
		}
		return f
	case "//", "%":
		r.step(x.BitLen() * (y.BitLen()/64 + 1) / 64)
		quotient, rest := new(big.Int).QuoRem(x, y, new(big.Int))
		if rest.Sign() != 0 && rest.Sign() != y.Sign() {
			quotient.Sub(quotient, big.NewInt(1))
			rest.Add(rest, y)
		}
		if op == "%" {
			return integer(rest)
		}
		return integer(quotient)
	}
	if y.Sign() < 0 {
		fa, _ := real64(a)
		fb, _ := real64(b)
		return floats(op, fa, fb)
	}
	if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > maxBits/int64(x.BitLen()-1)) {
		fail("%w: an integer of more than %d bits", ErrLimit, maxBits)
	}
	if x.BitLen() <= 1 { // -1, 0 or 1 to a power that may be huge
		y = new(big.Int).And(y, big.NewInt(1))
		if whole(b).Sign() != 0 && y.Sign() == 0 {
			y.SetInt64(2)
		}
	}
	r.step(maxBits / 64)
	return integer(new(big.Int).Exp(x, y, nil))
}

// fast does what stays within 64 bits.
func fast(op string, x, y int64) (value, bool) {
	switch op {
	case "+":
		z := x + y
		return z, (z > x) == (y > 0)
	case "-":
		z := x - y
		return z, (z < x) == (y > 0)
	case "*":
		const half = 1 << 31
		return x * y, -half < x && x < half && -half < y && y < half
	}
	return nil, false
}

func floats(op string, x, y float64) value {
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "**":
		return power(x, y)
	}
	if y == 0 {
		fail("float division by zero")
	}
	if op == "/" {
		return x / y
	}
	// as CPython: the rest first, then the quotient rounded to a whole number
	rest := math.Mod(x, y)
	quotient := (x - rest) / y
	if rest != 0 && (y < 0) != (rest < 0) {
		rest += y
		quotient--
	} else if rest == 0 {
		rest = math.Copysign(0, y)
	}
	if op == "%" {
		return rest
	}
	if quotient == 0 {
		return math.Copysign(0, x/y)
	}
	down := math.Floor(quotient)
	if quotient-down > 0.5 {
		down++
	}
	return down
}

func power(x, y float64) value {
	z := math.Pow(x, y)
	switch {
	case x == 0 && y < 0:
		fail("zero to a negative power")
	case x < 0 && y != math.Trunc(y) && !math.IsInf(x, 0) && !math.IsInf(y, 0):
		fail("%w: complex numbers", errUnsupported)
	case math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0):
		fail("Result too large")
	}
	return z
}

// negate does the unary minus.
func (r *renderer) negate(v value) value {
	if f, ok := v.(float64); ok {
		return -f
	}
	if i := whole(v); i != nil {
		r.alloc(i.BitLen() / 8)
		return integer(new(big.Int).Neg(i))
	}
	return badOperand("-", v)
}

func badOperand(op string, v value) value {
	if u, ok := v.(*undefined); ok {
		u.fail()
	}
	fail("bad operand type for unary %s: '%s'", op, typeName(v))
	return nil
}

// floatRepr writes a float as Python's repr does.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	_, after, _ := strings.Cut(s, "e")
	if exponent, _ := strconv.Atoi(after); -4 <= exponent && exponent < 16 {
		s = strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
	}
	return s
}

const maxDigits = 4300 // of an integer as text, as in Python

// intRepr writes an int.
func (r *renderer) intRepr(i *big.Int) string {
	r.alloc(i.BitLen() / 3)
	r.step(i.BitLen() / 64 * (i.BitLen()/64 + 1))
	s := i.String()
	if len(strings.TrimPrefix(s, "-")) > maxDigits {
		fail("Exceeds the limit (%d digits) for integer string conversion", maxDigits)
	}
	return s
}

// parseInt reads an int as Python's int does, base 0 taking prefixes.
func parseInt(s string, base int) (value, bool) {
	s = plainDigits(trimSpace(s))
	body := strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	negative := strings.HasPrefix(s, "-")
	if len(s)-len(body) > 1 || len(body) > 4*maxDigits {
		return nil, false
	}
	lower := strings.ToLower(body)
	prefix := map[int]string{2: "0b", 8: "0o", 16: "0x"}
	for b, p := range prefix {
		if (base == b || base == 0) && strings.HasPrefix(lower, p) {
			body, base = strings.TrimPrefix(body[2:], "_"), b
		}
	}
	if base == 0 {
		base = 10
		if strings.HasPrefix(body, "0") && strings.Trim(body, "0_") != "" {
			return nil, false
		}
	}
	if base < 2 || base > 36 {
		return nil, false
	}
	digits := strings.ReplaceAll(body, "_", "")
	if digits == "" || strings.HasPrefix(body, "_") || strings.HasSuffix(body, "_") || strings.Contains(body, "__") ||
		strings.ContainsAny(digits, "+-") || base == 10 && len(digits) > maxDigits {
		return nil, false
	}
	i, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return nil, false
	}
	if negative {
		i.Neg(i)
	}
	return integer(i), true
}

// parseFloat reads a float as Python's float does.
func parseFloat(s string) (float64, bool) {
	s = plainDigits(trimSpace(s))
	if strings.ContainsAny(s, "xXpP") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") {
		return 0, false
	}
	for i := range s {
		if s[i] == '_' && (!isDigit(s[i-1]) || !isDigit(s[i+1])) {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// plainDigits writes the decimal digits of all scripts as ASCII.
func plainDigits(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= utf8.RuneSelf && unicode.IsDigit(c) {
			zero := c // digits come in tens
			for zero > c-9 && unicode.IsDigit(zero-1) {
				zero--
			}
			return '0' + (c - zero)
		}
		return c
	}, s)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
