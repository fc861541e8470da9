package jinja

// expr is an expression.
type expr interface {
	eval(r *renderer, s *scope) value
}

type (
	constant  struct{ v value }
	name      struct{ name string }
	listExpr  struct{ items []expr }
	tupleExpr struct{ items []expr }
	dictExpr  struct{ keys, values []expr }
	attribute struct {
		of   expr
		name string
	}
	subscript struct{ of, index expr }
	slice     struct{ start, stop, step expr } // nil if left out
	call      struct {
		of   expr
		args argumentExprs
	}
	filterExpr struct {
		of   expr
		name string
		args argumentExprs
	}
	testExpr struct {
		of   expr
		name string
		args argumentExprs
	}
	unary struct {
		op string // not, - or +
		of expr
	}
	binary struct {
		op          string
		left, right expr
	}
	logical struct {
		op          string // and, or
		left, right expr
	}
	compare struct {
		first    expr
		ops      []string
		operands []expr
	}
	concat      struct{ parts []expr }
	conditional struct{ test, then, otherwise expr } // otherwise may be nil
)

// argumentExprs are the arguments of a call.
type argumentExprs struct {
	pos             []expr
	names           []string
	named           []expr
	spread, spread2 expr // *args and **kwargs, or nil
}

// target is what can be assigned to.
type target interface {
	assign(r *renderer, s *scope, v value)
}

type (
	nameTarget      struct{ name string }
	namespaceTarget struct{ name, attr string }
	tupleTarget     struct{ items []target }
)

// stmt is a statement. exec returns how it ended.
type stmt interface {
	exec(r *renderer, s *scope) ending
}

type ending int

const (
	ended ending = iota
	broke
	continued
)

type (
	textStmt   struct{ text string }
	outputStmt struct{ of expr }
	forStmt    struct {
		target    target
		iter      expr
		test      expr // or nil
		recursive bool
		body      []stmt
		otherwise []stmt
	}
	ifStmt struct {
		tests     []expr
		bodies    [][]stmt
		otherwise []stmt
	}
	setStmt struct {
		target target
		of     expr
	}
	setBlockStmt struct {
		target target
		value  expr // of its text, which is called blockText
		body   []stmt
	}
	withStmt struct {
		targets []target
		values  []expr
		body    []stmt
	}
	macroStmt struct{ macro *macroExpr }
	callStmt  struct {
		caller *macroExpr
		call   *call
	}
	filterStmt struct {
		value expr // of its text, which is called blockText
		body  []stmt
	}
	autoescapeStmt struct {
		on   expr
		body []stmt
	}
	generationStmt struct{ body *macroExpr }
	blockStmt      struct {
		name   string
		scoped bool
	}
	loopControlStmt struct{ as ending }
	noLoaderStmt    struct{ tag string }
)

// blockText is a name that no template can write.
const blockText = ""

// macroExpr is what a macro or the block of a call consists of.
type macroExpr struct {
	name     string
	params   []string
	defaults []expr // of the last parameters
	body     []stmt

	usesCaller, usesKwargs, usesVarargs bool
}
