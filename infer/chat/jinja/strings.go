package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// method is a method of a type.
type method func(r *renderer, self value, a arguments) value

// methods are those of each type in Python that a template may call.
var methods map[string]map[string]method

func init() {
	methods = map[string]map[string]method{
		"str": strMethods, "Markup": markupMethods(), "list": listMethods, "tuple": tupleMethods, "dict": dictMethods,
		"int": intMethods, "float": floatMethods, "bool": intMethods, "range": rangeMethods,
	}
}

// onText makes a method of a function of text without arguments.
func onText(name string, f func(s string) string) method {
	return func(r *renderer, self value, a arguments) value {
		a.none(name)
		s, _ := text(self)
		r.alloc(2 * len(s))
		return f(s)
	}
}

// asks makes a method that holds if it does for all characters, of which there
// has to be one.
func asks(name string, holds func(rune) bool) method {
	return func(r *renderer, self value, a arguments) value {
		a.none(name)
		s, _ := text(self)
		r.look(len(s))
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !holds(c) }) < 0
	}
}

// trims makes strip and its kin.
func trims(name string, left, right bool) method {
	return func(r *renderer, self value, a arguments) value {
		s, _ := text(self)
		b := a.bind(name, 0, "/chars")
		r.alloc(len(s))
		in := isSpace
		if b.or(0, nil) != nil {
			set := b.text(0, "")
			r.step(1 + len(s)*min(len(set), 256)/64)
			in = func(c rune) bool { return strings.ContainsRune(set, c) }
			if len(set) > 256 {
				has := make(map[rune]bool)
				for _, c := range set {
					has[c] = true
				}
				in = func(c rune) bool { return has[c] }
			}
		}
		if left {
			s = strings.TrimLeftFunc(s, in)
		}
		if right {
			s = strings.TrimRightFunc(s, in)
		}
		return s
	}
}

// room makes sure that there is memory for a list before it is made.
func (r *renderer) room(n int) {
	if n > (r.limits.bytes-r.bytes)/valueSize {
		r.allocTimes(n, valueSize) // fails
	}
}

// runsOfSpace counts what splitSpace cuts at.
func runsOfSpace(s string) int {
	n, before := 0, false
	for _, c := range s {
		space := isSpace(c)
		if space && !before {
			n++
		}
		before = space
	}
	return n
}

// texts makes a list of texts.
func (r *renderer) texts(parts []string) value {
	r.allocTimes(len(parts), valueSize)
	items := make([]value, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return &list{items}
}

func splits(name string, right bool) method {
	return func(r *renderer, self value, a arguments) value {
		s, _ := text(self)
		b := a.bind(name, 0, "sep", "maxsplit")
		n := b.count(1, -1)
		if b.or(0, nil) == nil {
			r.look(4 * len(s))
			r.room(runsOfSpace(s))
			if right {
				return r.texts(splitSpaceRight(s, n))
			}
			return r.texts(splitSpace(s, n))
		}
		sep := b.text(0, "")
		if sep == "" {
			fail("empty separator")
		}
		r.look(len(s))
		r.room(strings.Count(s, sep))
		switch {
		case right:
			return r.texts(splitRight(s, sep, n))
		case n < 0:
			return r.texts(strings.Split(s, sep))
		}
		return r.texts(strings.SplitN(s, sep, min(n, len(s))+1))
	}
}

// finds makes find and its kin.
func finds(name string, last, must bool) method {
	return func(r *renderer, self value, a arguments) value {
		s, _ := text(self)
		b := a.bind(name, 1, "/sub", "/start", "/end")
		part, offset, ok := within(r, s, b)
		at := -1
		if ok {
			if last {
				at = strings.LastIndex(part, b.text(0, ""))
			} else {
				at = strings.Index(part, b.text(0, ""))
			}
		}
		if at < 0 {
			if must {
				fail("substring not found")
			}
			return int64(-1)
		}
		return int64(runeCount(part[:at]) + offset)
	}
}

// within returns the part of s that the arguments start and end of find and
// others cut out, and where it begins; false if it begins after the end.
func within(r *renderer, s string, b bound) (part string, start int, ok bool) {
	r.look(2 * len(s))
	if b.or(1, nil) == nil && b.or(2, nil) == nil {
		return s, 0, true
	}
	n := runeCount(s)
	start, _, _, length := (&bounds{b.or(1, nil), b.or(2, nil), nil}).sliced(n)
	if from, ok := small(b.or(1, int64(0))); ok && from > int64(n) {
		return "", 0, false
	}
	return r.pickText(s, &bounds{int64(start), int64(start + length), nil}), start, true
}

// affixes makes startswith and endswith.
func affixes(name string, has func(s, affix string) bool) method {
	return func(r *renderer, self value, a arguments) value {
		s, _ := text(self)
		b := a.bind(name, 1, "/prefix", "/start", "/end")
		part, _, ok := within(r, s, b)
		if t, several := b.values[0].(*tuple); several {
			for _, v := range t.items {
				r.step(1)
				affix, isText := text(v)
				if !isText {
					fail("%s: a tuple of %s", name, typeName(v))
				}
				if ok && has(part, affix) {
					return true
				}
			}
			return false
		}
		return ok && has(part, b.text(0, ""))
	}
}

// pads makes center and its kin; left is how many of n characters go there.
func pads(name string, left func(n, width int) int) method {
	return func(r *renderer, self value, a arguments) value {
		s, _ := text(self)
		b := a.bind(name, 1, "/width", "/fillchar")
		fill, width := b.text(1, " "), b.count(0, 0)
		if runeCount(fill) != 1 {
			fail("the fill character must be exactly one character long")
		}
		n := max(width-runeCount(s), 0)
		r.allocTimes(n, len(fill))
		r.alloc(len(s))
		before := left(n, width)
		return strings.Repeat(fill, before) + s + strings.Repeat(fill, n-before)
	}
}

// parts makes partition and rpartition.
func parts(name string, last bool) method {
	return func(r *renderer, self value, a arguments) value {
		s, _ := text(self)
		sep := a.bind(name, 1, "/sep").text(0, "")
		if sep == "" {
			fail("empty separator")
		}
		r.alloc(len(s))
		if last {
			i := strings.LastIndex(s, sep)
			if i < 0 {
				return newTuple("", "", s)
			}
			return newTuple(s[:i], sep, s[i+len(sep):])
		}
		before, after, found := strings.Cut(s, sep)
		if !found {
			sep = ""
		}
		return newTuple(before, sep, after)
	}
}

// casing makes isupper and islower.
func casing(name string, wrong func(rune) bool) method {
	return func(r *renderer, self value, a arguments) value {
		a.none(name)
		s, _ := text(self)
		r.look(len(s))
		return strings.ContainsFunc(s, cased) && !strings.ContainsFunc(s, wrong)
	}
}

// numerals are letters that count as numbers.
const numerals = "零一二三四五六七八九十百千万萬億亿兆壹贰叁肆伍陆柒捌玖拾佰仟"

var strMethods = map[string]method{
	"capitalize": onText("capitalize", capitalize),
	"casefold":   onText("casefold", func(s string) string { return strings.ReplaceAll(lower(s), "ß", "ss") }),
	"center":     pads("center", func(n, width int) int { return n/2 + n&width&1 }),
	"count":      strCount,
	"endswith":   affixes("endswith", strings.HasSuffix),
	"expandtabs": strExpandTabs,
	"find":       finds("find", false, false),
	"format":     strFormat,
	"format_map": strFormatMap,
	"index":      finds("index", false, true),
	"isalnum":    asks("isalnum", func(c rune) bool { return unicode.In(c, unicode.L, unicode.N) }),
	"isalpha":    asks("isalpha", unicode.IsLetter),
	"isascii":    strIsASCII,
	"isdecimal":  asks("isdecimal", unicode.IsDigit),
	"isdigit": asks("isdigit", func(c rune) bool {
		return unicode.IsDigit(c) || unicode.Is(unicode.No, c) && strings.ContainsRune("²³¹⁰⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉①②③④⑤⑥⑦⑧⑨", c)
	}),
	"isidentifier": strIsIdentifier,
	"islower":      casing("islower", func(c rune) bool { return unicode.IsUpper(c) || unicode.IsTitle(c) }),
	"isnumeric":    asks("isnumeric", func(c rune) bool { return unicode.Is(unicode.N, c) || strings.ContainsRune(numerals, c) }),
	"isprintable":  strIsPrintable,
	"isspace":      asks("isspace", isSpace),
	"istitle":      strIsTitle,
	"isupper":      casing("isupper", func(c rune) bool { return unicode.IsLower(c) || unicode.IsTitle(c) }),
	"join":         strJoin,
	"ljust":        pads("ljust", func(int, int) int { return 0 }),
	"lower":        onText("lower", lower),
	"lstrip":       trims("lstrip", true, false),
	"partition":    parts("partition", false),
	"removeprefix": strRemovePrefix,
	"removesuffix": strRemoveSuffix,
	"replace":      strReplace,
	"rfind":        finds("rfind", true, false),
	"rindex":       finds("rindex", true, true),
	"rjust":        pads("rjust", func(n, _ int) int { return n }),
	"rpartition":   parts("rpartition", true),
	"rsplit":       splits("rsplit", true),
	"rstrip":       trims("rstrip", false, true),
	"split":        splits("split", false),
	"splitlines":   strSplitLines,
	"startswith":   affixes("startswith", strings.HasPrefix),
	"strip":        trims("strip", true, true),
	"swapcase":     onText("swapcase", swapCase),
	"title":        onText("title", titleCase),
	"upper":        onText("upper", upper),
	"zfill":        strZeroFill,
}

func strCount(r *renderer, self value, a arguments) value {
	s, _ := text(self)
	b := a.bind("count", 1, "/sub", "/start", "/end")
	part, _, ok := within(r, s, b)
	if !ok {
		return int64(0)
	}
	return int64(strings.Count(part, b.text(0, "")))
}

func strExpandTabs(r *renderer, self value, a arguments) value {
	s, _ := text(self)
	size := a.bind("expandtabs", 0, "tabsize").count(0, 8)
	var out strings.Builder
	r.alloc(len(s))
	column := 0
	for _, c := range s {
		switch c {
		case '\t':
			if size > 0 {
				n := size - column%size
				r.alloc(n)
				out.WriteString(strings.Repeat(" ", n))
				column += n
			}
			continue
		case '\n', '\r':
			column = -1
		}
		column++
		out.WriteRune(c)
	}
	return out.String()
}

func strIsASCII(r *renderer, self value, a arguments) value {
	a.none("isascii")
	s, _ := text(self)
	r.look(len(s))
	return isASCII(s)
}

func strIsIdentifier(r *renderer, self value, a arguments) value {
	a.none("isidentifier")
	s, _ := text(self)
	r.look(len(s))
	for i, c := range s {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.In(c, unicode.Nd, unicode.Mn, unicode.Mc)) {
			return false
		}
	}
	return s != ""
}

func strIsPrintable(r *renderer, self value, a arguments) value {
	a.none("isprintable")
	s, _ := text(self)
	r.look(len(s))
	return !strings.ContainsFunc(s, func(c rune) bool { return !printable(c) })
}

func strIsTitle(r *renderer, self value, a arguments) value {
	a.none("istitle")
	s, _ := text(self)
	r.look(len(s))
	some, inside := false, false
	for _, c := range s {
		switch {
		case unicode.IsUpper(c) || unicode.IsTitle(c):
			if inside {
				return false
			}
			some, inside = true, true
		case unicode.IsLower(c):
			if !inside {
				return false
			}
		default:
			inside = false
		}
	}
	return some
}

func strJoin(r *renderer, self value, a arguments) value {
	sep, _ := text(self)
	var parts []string
	next := r.iterate(a.bind("join", 1, "/iterable").values[0])
	for v, ok := next(); ok; v, ok = next() {
		s, ok := text(v)
		if !ok {
			fail("sequence item %d: expected str instance, %s found", len(parts), typeName(v))
		}
		r.alloc(valueSize)
		parts = append(parts, s)
	}
	return r.joinStrings(parts, sep)
}

func strRemovePrefix(r *renderer, self value, a arguments) value {
	s, _ := text(self)
	r.look(len(s))
	return strings.TrimPrefix(s, a.bind("removeprefix", 1, "/prefix").text(0, ""))
}

func strRemoveSuffix(r *renderer, self value, a arguments) value {
	s, _ := text(self)
	r.look(len(s))
	return strings.TrimSuffix(s, a.bind("removesuffix", 1, "/suffix").text(0, ""))
}

func strReplace(r *renderer, self value, a arguments) value {
	s, _ := text(self)
	b := a.bind("replace", 2, "/old", "/new", "count")
	return r.replace(s, b.text(0, ""), b.text(1, ""), b.count(2, -1))
}

// replace is Python's replace; a negative n replaces all.
func (r *renderer) replace(s, old, by string, n int) string {
	r.look(2 * len(s))
	found := strings.Count(s, old)
	if n >= 0 {
		found = min(found, n)
	}
	r.alloc(len(s))
	r.allocTimes(found, len(by))
	return strings.Replace(s, old, by, found)
}

func strSplitLines(r *renderer, self value, a arguments) value {
	s, _ := text(self)
	r.room(strings.Count(s, "\n"))
	r.look(4 * len(s))
	return r.texts(splitLines(s, a.bind("splitlines", 0, "keepends").truth(0)))
}

func swapCase(s string) string {
	var b strings.Builder
	for i, c := range s {
		one := s[i : i+utf8.RuneLen(c)]
		if unicode.IsUpper(c) {
			b.WriteString(lower(one))
		} else {
			b.WriteString(upper(one))
		}
	}
	return b.String()
}

func strZeroFill(r *renderer, self value, a arguments) value {
	s, _ := text(self)
	n := max(a.bind("zfill", 1, "/width").count(0, 0)-runeCount(s), 0)
	r.alloc(n)
	r.alloc(len(s))
	sign := 0
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		sign = 1
	}
	return s[:sign] + strings.Repeat("0", n) + s[sign:]
}
