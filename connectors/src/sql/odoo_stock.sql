SELECT p.default_code                                             AS sku,
       COALESCE(t.name ->> 'en_US', t.name ->> (SELECT min(k) FROM jsonb_object_keys(t.name) AS k)) AS name,
       p.barcode                                                  AS barcode,
       w.code                                                     AS warehouse,
       w.name                                                     AS warehouse_name,
       COALESCE(sum(q.quantity), 0)                               AS on_hand,
       COALESCE(sum(q.quantity - q.reserved_quantity), 0)         AS available,
       now()                                                      AS as_of
  FROM product_product AS p
  JOIN product_template AS t ON t.id = p.product_tmpl_id
  JOIN stock_warehouse AS w ON w.active AND (t.company_id IS NULL OR t.company_id = w.company_id)
  JOIN stock_location AS view ON view.id = w.view_location_id
  LEFT JOIN stock_location AS l ON l.usage = 'internal' AND l.parent_path LIKE view.parent_path || '%'
  LEFT JOIN stock_quant AS q ON q.location_id = l.id AND q.product_id = p.id
 WHERE p.active
   AND p.default_code IN (:skus)
 GROUP BY p.id, p.default_code, p.barcode, t.name, w.id, w.code, w.name
 ORDER BY p.default_code, w.code
