# The module system in small: modules declare options and define them; definitions are conditional (mkIf), several
# (mkMerge) or stronger and weaker than others (mkForce, mkDefault).
lib:
let
  property = type: content: { _property = type; } // content;
  isProperty = type: x: builtins.isAttrs x && x._property or null == type;

  # { file, value } with the properties outside of attribute names, so that an option's definitions can be gathered
  # without asking for a condition that may hang on other options.
  pushDown =
    value:
    if isProperty "if" value then
      map (builtins.mapAttrs (_: property' value.condition)) (pushDown value.content)
    else if isProperty "merge" value then
      builtins.concatMap pushDown value.contents
    else
      [ value ];
  property' = condition: content: property "if" { inherit condition content; };

  # What a definition comes to: none, one or several values, each with its strength.
  discharge =
    def:
    if isProperty "if" def.value then
      if def.value.condition then discharge (def // { value = def.value.content; }) else [ ]
    else if isProperty "merge" def.value then
      builtins.concatMap (value: discharge (def // { inherit value; })) def.value.contents
    else if isProperty "override" def.value then
      map (d: d // { priority = def.value.priority; }) (discharge (def // { value = def.value.content; }))
    else if isProperty "order" def.value then
      map (d: d // { order = def.value.order; }) (discharge (def // { value = def.value.content; }))
    else
      [
        (
          {
            priority = 100;
            order = 1000;
          }
          // def
        )
      ];

  # The strongest ones only, in order.
  effective =
    defs:
    let
      all = builtins.concatMap discharge defs;
      strongest = builtins.foldl' (p: d: if d.priority < p then d.priority else p) 9999 all;
      kept = builtins.filter (d: d.priority == strongest) all;
    in
    builtins.sort (a: b: a.order < b.order) kept;

  evaluated =
    loc: type: defs:
    let
      wrong = builtins.filter (d: !type.check d.value) defs;
      first = builtins.head wrong;
    in
    if wrong != [ ] then
      throw "A definition for option `${lib.showOption loc}' is not of type `${type.description}', in ${first.file}."
    else
      type.merge loc defs;

  isOption = x: x._type or null == "option";

  collect =
    specialArgs: module:
    let
      file = if builtins.isPath module || builtins.isString module then toString module else "<inline>";
      loaded = if builtins.isPath module || builtins.isString module then import module else module;
      m = if builtins.isFunction loaded then loaded specialArgs else loaded;
      name = m._file or file;
      plain = builtins.removeAttrs m [
        "_file"
        "imports"
        "options"
        "config"
        "meta"
        "key"
      ];
    in
    builtins.concatMap (collect specialArgs) (m.imports or [ ])
    ++ [
      {
        file = name;
        path = file;
        options = m.options or { };
        config = if m ? config || m ? options then m.config or { } else plain;
      }
    ];

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
    }:
    let
      args = specialArgs // {
        inherit config options lib;
      };
      # A file that is imported twice counts once.
      collected = builtins.foldl' (
        seen: m:
        if m.path != "<inline>" && builtins.any (other: other.path == m.path) seen then
          seen
        else
          seen ++ [ m ]
      ) [ ] (builtins.concatMap (collect args) modules);
      options = builtins.foldl' lib.recursiveUpdate { } (map (m: m.options) collected);
      definitions = builtins.concatMap (
        m:
        map (value: {
          inherit (m) file;
          inherit value;
        }) (pushDown m.config)
      ) collected;
      config = level prefix options definitions;
      level =
        loc: options: defs:
        let
          pushed = builtins.concatMap (d: map (value: d // { inherit value; }) (pushDown d.value)) defs;
          unknown = builtins.concatMap (
            d:
            map (name: {
              inherit name;
              inherit (d) file;
            }) (builtins.filter (name: !options ? ${name}) (builtins.attrNames d.value))
          ) pushed;
          of =
            name:
            builtins.concatMap (
              d: if d.value ? ${name} then [ (d // { value = d.value.${name}; }) ] else [ ]
            ) pushed;
        in
        if unknown != [ ] then
          let
            first = builtins.head unknown;
          in
          throw "The option `${lib.showOption (loc ++ [ first.name ])}' does not exist, in ${first.file}."
        else
          builtins.mapAttrs (
            name: option:
            if isOption option then
              value (loc ++ [ name ]) option (of name)
            else
              level (loc ++ [ name ]) option (of name)
          ) options;
      value =
        loc: option: defs:
        let
          strong = effective defs;
          type = option.type or lib.types.anything;
        in
        (option.apply or lib.id) (
          if strong != [ ] then
            evaluated loc type strong
          else if option ? default then
            option.default
          else if type.description == "submodule" then
            type.merge loc [ ]
          else
            throw "The option `${lib.showOption loc}' is used but not defined."
        );
    in
    {
      inherit config options;
    };
in
{
  inherit evalModules;
  mkOption = option: { _type = "option"; } // option;
  mkEnableOption =
    name:
    lib.mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${name}.";
    };
  mkPackageOption =
    pkgs: name: _:
    lib.mkOption {
      type = lib.types.package;
      default = pkgs.${name};
      description = "The ${name} package to use.";
    };
  mkIf = property';
  mkMerge = contents: property "merge" { inherit contents; };
  mkForce =
    content:
    property "override" {
      inherit content;
      priority = 50;
    };
  mkDefault =
    content:
    property "override" {
      inherit content;
      priority = 1000;
    };
  mkAfter =
    content:
    property "order" {
      inherit content;
      order = 1500;
    };
  literalExpression = text: { inherit text; };
}
// {
  inherit effective evaluated;
}
