package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// spec is how one value is formatted, by % or by format.
type spec struct {
	fill      string
	align     byte // < > ^ =, or 0
	sign      byte // + or space, or 0
	alternate bool
	width     int
	group     byte // , or _, or 0
	precision int  // -1 if it is not given
	verb      byte // 0 if it is not given
}

// pad fills a text up to the width. Numbers have a prefix, which = leaves before
// the fill.
func (s spec) pad(r *renderer, prefix, body string, align byte) string {
	if s.align != 0 {
		align = s.align
	}
	n := max(s.width-runeCount(prefix)-runeCount(body), 0)
	r.allocTimes(n, len(s.fill))
	r.alloc(len(prefix) + len(body))
	left, right := 0, 0
	switch align {
	case '<':
		right = n
	case '^':
		left, right = n/2, n-n/2
	case '=':
		return prefix + strings.Repeat(s.fill, n) + body
	default:
		left = n
	}
	return strings.Repeat(s.fill, left) + prefix + body + strings.Repeat(s.fill, right)
}

// signOf is what stands before a number.
func (s spec) signOf(negative bool) string {
	switch {
	case negative:
		return "-"
	case s.sign != 0:
		return string(s.sign)
	}
	return ""
}

// formatInt writes an int.
func (s spec) formatInt(r *renderer, i *big.Int) string {
	base, prefix := 10, ""
	switch s.verb {
	case 'b':
		base, prefix = 2, "0b"
	case 'o':
		base, prefix = 8, "0o"
	case 'x', 'X':
		base, prefix = 16, "0"+string(s.verb)
	}
	var digits string
	abs := new(big.Int).Abs(i)
	if base == 10 {
		digits = r.intRepr(abs)
	} else {
		r.alloc(abs.BitLen())
		digits = abs.Text(base)
	}
	if s.verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	if !s.alternate {
		prefix = ""
	}
	if n := s.precision - len(digits); n > 0 {
		r.alloc(n)
		digits = strings.Repeat("0", n) + digits
	}
	prefix = s.signOf(i.Sign() < 0) + prefix
	return s.pad(r, prefix, s.grouped(r, digits, len(prefix), base), '>')
}

// grouped puts separators into the digits of a whole number, and zeros before
// them if the width is to be filled with zeros.
func (s spec) grouped(r *renderer, digits string, before, base int) string {
	if s.group == 0 {
		return digits
	}
	size := 3
	if base != 10 {
		size = 4
	}
	whole, after := digits, ""
	if i := strings.IndexAny(digits, ".e%"); i >= 0 {
		whole, after = digits[:i], digits[i:]
	}
	if s.align == '=' && s.fill == "0" {
		r.alloc(max(s.width, 0))
		for want := s.width - before - len(after); len(whole)+(len(whole)-1)/size < want; {
			whole = strings.Repeat("0", min(max(1, (want-len(whole))/2), want)) + whole
			for len(whole)+(len(whole)-1)/size > want+1 && strings.HasPrefix(whole, "0") {
				whole = whole[1:]
			}
		}
	}
	r.alloc(2 * len(whole))
	var b strings.Builder
	for i := range len(whole) {
		if i > 0 && (len(whole)-i)%size == 0 {
			b.WriteByte(s.group)
		}
		b.WriteByte(whole[i])
	}
	return b.String() + after
}

// formatFloat writes a float with the verb e, f, g, % or n, or as str does if
// there is none.
func (s spec) formatFloat(r *renderer, f float64) string {
	negative := math.Signbit(f) && f == f
	f = math.Abs(f)
	verb, precision := s.verb|0x20, s.precision
	if s.verb == '%' || s.verb == 0 {
		verb = s.verb
	}
	if verb == 'n' {
		verb = 'g'
	}
	if precision > 1<<20 {
		fail("%w: a precision of %d", ErrLimit, precision)
	}
	r.alloc(max(precision, 0) + 400)
	if precision < 0 {
		precision = 6
	}
	var digits string
	switch {
	case f != f:
		digits = "nan"
	case math.IsInf(f, 0):
		digits = "inf"
	case verb == '%':
		digits = strconv.FormatFloat(f*100, 'f', precision, 64)
	case verb == 'e' || verb == 'f':
		digits = strconv.FormatFloat(f, verb, precision, 64)
		if s.alternate && precision == 0 {
			digits = strings.Replace(digits+"e", "e", ".e", 1)
			digits = strings.TrimSuffix(digits, "e")
		}
	case verb == 0 && s.precision < 0:
		digits = floatRepr(f)
	default:
		digits = general(f, max(precision, 1), s.alternate, verb == 0)
	}
	if 'A' <= s.verb && s.verb <= 'Z' {
		digits = strings.ToUpper(digits)
	}
	if verb == '%' {
		digits += "%"
	}
	prefix := s.signOf(negative)
	return s.pad(r, prefix, s.grouped(r, digits, len(prefix), 10), '>')
}

// general writes a float with so many significant digits. str keeps a digit
// after the point, and takes an exponent one digit earlier.
func general(f float64, digits int, zeros, str bool) string {
	e := strconv.FormatFloat(f, 'e', digits-1, 64)
	mantissa, after, _ := strings.Cut(e, "e")
	exponent, _ := strconv.Atoi(after)
	trim := func(s string) string {
		if !zeros && strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		if zeros && !strings.Contains(s, ".") {
			s += "."
		}
		return s
	}
	most := digits
	if str {
		most--
	}
	if exponent < -4 || exponent >= most {
		return trim(mantissa) + "e" + after
	}
	s := trim(strconv.FormatFloat(f, 'f', max(digits-1-exponent, 0), 64))
	if str && !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// percent is the operator % of text.
func (r *renderer) percent(self value, format string, args value) value {
	var items []value
	dicts, isDict := args.(*dict)
	single := true
	if t, ok := args.(*tuple); ok {
		items, single = t.items, false
	} else {
		items = []value{args}
	}
	var out strings.Builder
	used := 0
	byName := false
	next := func() value {
		if used >= len(items) {
			fail("not enough arguments for format string")
		}
		used++
		return items[used-1]
	}
	put := func(s string) {
		r.alloc(len(s))
		out.WriteString(s)
	}
	rest := format
	for {
		before, after, found := strings.Cut(rest, "%")
		put(before)
		if !found {
			break
		}
		rest = after
		r.step(1)
		s := spec{fill: " ", precision: -1}
		var arg value
		hasName := strings.HasPrefix(rest, "(")
		if hasName {
			key, left := closing(rest[1:])
			if !isDict {
				fail("format requires a mapping")
			}
			v, ok := r.find(dicts, key)
			if !ok {
				fail("KeyError: %s", pythonRepr(key))
			}
			arg, rest, byName = v, left, true
		}
		rest = s.percentFlags(rest, next)
		if rest == "" {
			fail("incomplete format")
		}
		s.verb = rest[0]
		rest = rest[1:]
		if s.verb == '%' {
			if s != (spec{fill: " ", precision: -1, verb: '%'}) {
				fail("unsupported format character '%%'")
			}
			put("%")
			continue
		}
		if !hasName {
			arg = next()
		}
		put(r.percentOne(s, arg, isMarkup(self)))
	}
	if used < len(items) && !byName && (!single || !named(args)) {
		fail("not all arguments converted during string formatting")
	}
	return like(self, out.String())
}

// named reports whether a format may take its values by name, so that it need not
// use them: what has elements may.
func named(args value) bool {
	switch args.(type) {
	case *dict, *list, interval, *undefined:
		return true
	}
	return false
}

// closing cuts a name at its closing parenthesis.
func closing(s string) (name, rest string) {
	depth := 1
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[:i], s[i+1:]
			}
		}
	}
	fail("incomplete format key")
	return "", ""
}

// percentFlags reads flags, width and precision.
func (s *spec) percentFlags(rest string, next func() value) string {
	zero, left := false, false
	for ; rest != ""; rest = rest[1:] {
		switch rest[0] {
		case '-':
			left = true
		case '+':
			s.sign = '+'
		case ' ':
			if s.sign == 0 {
				s.sign = ' '
			}
		case '#':
			s.alternate = true
		case '0':
			zero = true
		default:
			goto width
		}
	}
width:
	s.width, rest = number(rest, next)
	if s.width < 0 {
		left, s.width = true, -s.width
	}
	if strings.HasPrefix(rest, ".") {
		s.precision, rest = number(rest[1:], next)
		s.precision = max(s.precision, 0)
	}
	switch {
	case left:
		s.align = '<'
	case zero:
		s.align, s.fill = '=', "0"
	}
	if rest != "" && strings.IndexByte("hlL", rest[0]) >= 0 {
		rest = rest[1:]
	}
	return rest
}

// number reads a number, or * for one of the arguments.
func number(s string, next func() value) (int, string) {
	if strings.HasPrefix(s, "*") {
		n, ok := small(next())
		if !ok {
			fail("* wants int")
		}
		return int(max(n, -math.MaxInt64)), s[1:]
	}
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if i == 0 {
		return 0, s
	}
	n, err := strconv.Atoi(s[:i])
	if err != nil || n > math.MaxInt32 {
		fail("%w: a width or precision of %s", ErrLimit, s[:min(i, 20)])
	}
	return n, s[i:]
}

// percentOne formats one value.
func (r *renderer) percentOne(s spec, v value, html bool) string {
	plain := func(t string) string {
		if s.precision >= 0 {
			t = r.pickText(t, &bounds{nil, int64(s.precision), nil})
		}
		if s.align == '=' {
			s.align, s.fill = '>', " "
		}
		return s.pad(r, "", t, '>')
	}
	switch s.verb {
	case 's':
		if html {
			return plain(string(r.escape(v)))
		}
		return plain(r.str(v))
	case 'r':
		return plain(r.repr(v))
	case 'a':
		repr := r.repr(v)
		r.alloc(10 * len(repr))
		return plain(ascii(repr))
	case 'c':
		if t, ok := text(v); ok && runeCount(t) == 1 {
			return plain(t)
		}
		return plain(char(v))
	case 'd', 'i', 'u', 'x', 'X', 'o':
		i := whole(v)
		if f, ok := v.(float64); ok && strings.IndexByte("diu", s.verb) >= 0 {
			i = truncated(f)
		}
		if i == nil {
			fail("%%%c format: an integer is required, not %s", s.verb, typeName(v))
		}
		return s.formatInt(r, i)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		f, ok := real64(v)
		if !ok {
			fail("must be real number, not %s", typeName(v))
		}
		return s.formatFloat(r, f)
	}
	fail("unsupported format character %q", s.verb)
	return ""
}

// char is the character of a code.
func char(v value) string {
	n, ok := small(v)
	if !ok || n < 0 || n > 0x10ffff {
		fail("%%c requires an int in range(0x110000) or a single character")
	}
	if 0xd800 <= n && n < 0xe000 {
		fail("%w: half of a character", errUnsupported)
	}
	return string(rune(n))
}

// truncated is a float without what follows the point.
func truncated(f float64) *big.Int {
	if f != f || math.IsInf(f, 0) {
		fail("cannot convert float %s to integer", floatRepr(f))
	}
	i, _ := big.NewFloat(f).Int(nil)
	return i
}

func strFormat(r *renderer, self value, a arguments) value {
	s, _ := text(self)
	f := &formatter{r: r, args: a}
	return f.format(s, 2)
}

func strFormatMap(r *renderer, self value, a arguments) value {
	s, _ := text(self)
	d, ok := a.bind("format_map", 1, "mapping").values[0].(*dict)
	if !ok {
		fail("format_map() argument must be a mapping")
	}
	f := &formatter{r: r, args: arguments{named: d}}
	return f.format(s, 2)
}

// formatter is Python's format of text.
type formatter struct {
	r         *renderer
	args      arguments
	automatic int // fields without a name
	manual    bool
}

// format replaces the fields, and the fields in their formats.
func (f *formatter) format(s string, depth int) string {
	if depth < 0 {
		fail("max string recursion exceeded")
	}
	var out strings.Builder
	put := func(s string) {
		f.r.alloc(len(s))
		out.WriteString(s)
	}
	for s != "" {
		f.r.step(1)
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			put(s)
			break
		}
		put(s[:i])
		switch {
		case strings.HasPrefix(s[i:], "{{"), strings.HasPrefix(s[i:], "}}"):
			put(s[i : i+1])
			s = s[i+2:]
			continue
		case s[i] == '}':
			fail("single '}' encountered in format string")
		}
		field, rest := brace(s[i+1:])
		put(f.field(field, depth))
		s = rest
	}
	return out.String()
}

// brace cuts a field at its closing brace.
func brace(s string) (field, rest string) {
	depth := 1
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[:i], s[i+1:]
			}
		}
	}
	fail("expected '}' before end of string")
	return "", ""
}

// field formats name!conversion:format.
func (f *formatter) field(field string, depth int) string {
	end := strings.IndexAny(field, "!:")
	if open := strings.Index(field, "["); open >= 0 && end > open { // not those within the brackets
		if shut := strings.Index(field[open:], "]"); shut >= 0 {
			if end = strings.IndexAny(field[open+shut:], "!:"); end >= 0 {
				end += open + shut
			}
		}
	}
	name, conversion, format := field, byte(0), ""
	if end >= 0 {
		name = field[:end]
		rest := field[end:]
		if rest[0] == '!' {
			if len(rest) < 2 {
				fail("unmatched '{' in format spec")
			}
			conversion = rest[1]
			if rest = rest[2:]; rest != "" && rest[0] != ':' {
				fail("expected ':' after conversion specifier")
			}
		}
		format = strings.TrimPrefix(rest, ":")
	}
	v := f.value(name)
	format = f.format(format, depth-1)
	switch conversion {
	case 0:
	case 's':
		v = f.r.str(v)
	case 'r':
		v = f.r.repr(v)
	case 'a':
		v = ascii(f.r.repr(v))
	default:
		fail("unknown conversion specifier %c", conversion)
	}
	return f.r.formatValue(v, format)
}

// value finds what a field names: a number or a name, then attributes and
// elements.
func (f *formatter) value(field string) value {
	end := strings.IndexAny(field, ".[")
	if end < 0 {
		end = len(field)
	}
	first, rest := field[:end], field[end:]
	var v value
	i, err := strconv.Atoi(first)
	switch {
	case first == "":
		if f.manual {
			fail("cannot switch from manual field specification to automatic field numbering")
		}
		i, err = f.automatic, nil
		f.automatic++
	case err == nil:
		if f.manual = true; f.automatic > 0 {
			fail("cannot switch from automatic field numbering to manual field specification")
		}
	}
	if err == nil {
		if i < 0 || i >= len(f.args.pos) {
			fail("replacement index %d out of range for positional args tuple", i)
		}
		v = f.args.pos[i]
	} else {
		ok := false
		if f.args.named != nil {
			v, ok = f.args.named.get(first)
		}
		if !ok {
			fail("KeyError: %s", pythonRepr(first))
		}
	}
	for rest != "" {
		f.r.step(1)
		if rest[0] == '.' {
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			v = f.r.getAttribute(v, rest[1:end])
			rest = rest[end:]
			continue
		}
		key, after, ok := strings.Cut(rest[1:], "]")
		if !ok || rest[0] != '[' {
			fail("missing ']' in format string")
		}
		if n, err := strconv.Atoi(key); err == nil {
			v = f.r.getItem(v, int64(n))
		} else {
			v = f.r.getItem(v, key)
		}
		rest = after
	}
	return v
}

// formatValue is Python's format of one value.
func (r *renderer) formatValue(v value, format string) string {
	if format == "" {
		return r.str(v)
	}
	s := parseSpec(format)
	t, isText := text(v)
	switch x := v.(type) {
	case float64:
		if s.verb == 0 || strings.IndexByte("eEfFgGn%", s.verb) >= 0 {
			return s.formatFloat(r, x)
		}
	case bool, int64, *big.Int:
		switch {
		case strings.IndexByte("eEfFgG%", s.verb) >= 0 && s.verb != 0:
			f, _ := real64(v)
			return s.formatFloat(r, f)
		case s.precision >= 0:
			fail("precision not allowed in integer format specifier")
		case s.verb == 'c':
			return s.pad(r, "", char(v), '<')
		case s.verb == 0 || strings.IndexByte("bdoxXn", s.verb) >= 0:
			return s.formatInt(r, whole(v))
		}
	}
	if !isText {
		fail("unsupported format string passed to %s.__format__", typeName(v))
	}
	if s.verb != 0 && s.verb != 's' || s.sign != 0 || s.align == '=' && s.fill != "0" || s.group != 0 {
		fail("invalid format specifier for text")
	}
	if s.align == '=' {
		s.align = '<'
	}
	if s.precision >= 0 {
		t = r.pickText(t, &bounds{nil, int64(s.precision), nil})
	}
	return s.pad(r, "", t, '<')
}

// parseSpec reads [[fill]align][sign][#][0][width][group][.precision][type].
func parseSpec(format string) spec {
	s := spec{fill: " ", precision: -1}
	rest := format
	isAlign := func(i int) bool { return i < len(rest) && strings.IndexByte("<>=^", rest[i]) >= 0 }
	if n := runeLen(rest); isAlign(n) {
		s.fill, s.align, rest = rest[:n], rest[n], rest[n+1:]
	} else if isAlign(0) {
		s.align, rest = rest[0], rest[1:]
	}
	take := func(chars string) byte {
		if rest != "" && strings.IndexByte(chars, rest[0]) >= 0 {
			c := rest[0]
			rest = rest[1:]
			return c
		}
		return 0
	}
	if s.sign = take("+- "); s.sign == '-' {
		s.sign = 0
	}
	take("z")
	s.alternate = take("#") != 0
	if zero := take("0"); zero != 0 && s.align == 0 {
		s.align, s.fill = '=', "0"
	}
	none := func() value { fail("invalid format specifier"); return nil }
	if !strings.HasPrefix(rest, "*") {
		s.width, rest = number(rest, none)
	}
	s.group = take(",_")
	if take(".") != 0 {
		if rest == "" || !isDigit(rest[0]) {
			fail("format specifier missing precision")
		}
		s.precision, rest = number(rest, none)
	}
	if rest != "" {
		s.verb, rest = rest[0], rest[1:]
	}
	if rest != "" {
		fail("invalid format specifier '%s'", format[:min(len(format), 60)])
	}
	return s
}
