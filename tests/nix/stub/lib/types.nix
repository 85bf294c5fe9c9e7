# A type: `check` says whether one definition is of it, `merge` makes one value of several, each { file, value }.
lib:
let
  simple = description: check: {
    inherit description check;
    merge = one description;
  };

  one =
    _: loc: defs:
    let
      values = lib.unique (map (d: d.value) defs);
    in
    if builtins.length values == 1 then
      builtins.head values
    else
      throw "The option `${lib.showOption loc}' has conflicting definitions, in ${
        lib.concatMapStringsSep " and " (d: d.file) defs
      }.";

  types = {
    anything = simple "anything" (_: true);
    bool = simple "boolean" builtins.isBool;
    int = simple "signed integer" builtins.isInt;
    str = simple "string" builtins.isString;
    path = simple "absolute path" (
      x: builtins.isPath x || (builtins.isString x || x ? outPath) && lib.hasPrefix "/" "${x}"
    );
    package = simple "package" lib.isDerivation;
    ints = {
      unsigned = simple "unsigned integer, meaning >=0" (x: builtins.isInt x && x >= 0);
      between =
        low: high:
        simple "integer between ${toString low} and ${toString high} (both inclusive)" (
          x: builtins.isInt x && x >= low && x <= high
        );
    };
    port = types.ints.between 0 65535;
    lines = (simple "strings concatenated with \"\\n\"" builtins.isString) // {
      merge = _: defs: lib.concatMapStringsSep "\n" (d: d.value) defs;
    };
    enum =
      values:
      simple "one of ${lib.concatMapStringsSep ", " builtins.toJSON values}" (x: builtins.elem x values);
    strMatching =
      pattern:
      simple "string matching the pattern ${pattern}" (
        x: builtins.isString x && builtins.match pattern x != null
      );
    nullOr = type: {
      description = "null or ${type.description}";
      check = x: x == null || type.check x;
      merge = loc: defs: if builtins.all (d: d.value == null) defs then null else type.merge loc defs;
    };
    either = a: b: {
      description = "${a.description} or ${b.description}";
      check = x: a.check x || b.check x;
      merge =
        loc: defs: if builtins.all (d: a.check d.value) defs then a.merge loc defs else b.merge loc defs;
    };
    oneOf = list: builtins.foldl' types.either (builtins.head list) (builtins.tail list);
    listOf = type: {
      description = "list of ${type.description}";
      check = builtins.isList;
      merge =
        loc: defs:
        builtins.concatMap (
          d:
          map (
            value:
            lib.evaluated loc type [
              {
                inherit (d) file;
                inherit value;
              }
            ]
          ) d.value
        ) defs;
    };
    attrsOf = type: {
      description = "attribute set of ${type.description}";
      check = builtins.isAttrs;
      merge =
        loc: defs:
        let
          of = builtins.zipAttrsWith (_: defs: defs) (
            map (
              d:
              builtins.mapAttrs (_: value: {
                inherit (d) file;
                inherit value;
              }) d.value
            ) defs
          );
        in
        builtins.mapAttrs (name: defs: lib.evaluated (loc ++ [ name ]) type defs) (
          lib.filterAttrs (_: defs: defs != [ ]) (builtins.mapAttrs (_: lib.effective) of)
        );
    };
    attrs = types.attrsOf types.anything;
    # What a format such as YAML holds: sets are joined, and so are lists.
    value = simple "value" (_: true) // {
      merge =
        loc: defs:
        if builtins.all (d: builtins.isAttrs d.value) defs then
          (types.attrsOf types.value).merge loc defs
        else if builtins.all (d: builtins.isList d.value) defs then
          builtins.concatMap (d: d.value) defs
        else
          one "value" loc defs;
    };
    submodule = module: {
      description = "submodule";
      check = x: builtins.isAttrs x || builtins.isFunction x;
      merge =
        loc: defs:
        (lib.evalModules {
          prefix = loc;
          specialArgs.name = lib.last loc;
          modules = [
            module
          ]
          ++ map (d: {
            _file = d.file;
            config = d.value;
          }) defs;
        }).config;
    };
  };
in
types
